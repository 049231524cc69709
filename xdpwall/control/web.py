# SPDX-License-Identifier: Apache-2.0
"""Requests over HTTP. Imported when the first one is made: with TLS it is 6 MB that most controllers never need."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

# Addresses come from the configuration, which takes http and https alone.


def reach(url: str, timeout_s: float) -> None:
    """Ask for a page, directly and by no proxy.

    Raises:
        TimeoutError: no answer in time.
        OSError: nobody answers, or not with success.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "xdpwall-probe"})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        raise OSError(f"status {error.code}") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise TimeoutError from None
        raise OSError(str(error.reason)) from None
    except http.client.HTTPException as error:
        raise OSError(str(error) or type(error).__name__) from None


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> None:
    """Post something, and read the answer for as long as there is time.

    Raises:
        OSError: it could not be delivered, or the answer was none of success.
    """
    request = urllib.request.Request(url, body, dict(headers), method="POST")  # noqa: S310
    opener = urllib.request.build_opener(_NoRedirect())
    deadline = time.monotonic() + timeout_s
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            while answer.read(4096) and time.monotonic() < deadline:
                pass
    except urllib.error.HTTPError as error:
        raise OSError(f"the web hook answered with status {error.code}") from None
    except urllib.error.URLError as error:
        raise OSError(f"the web hook cannot be reached: {error.reason}") from None
    except http.client.HTTPException as error:
        raise OSError(f"the web hook does not speak HTTP: {str(error) or type(error).__name__}") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token must not be carried to wherever an answer points."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None

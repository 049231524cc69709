# SPDX-License-Identifier: Apache-2.0
"""The service behind the wall: a real HTTP/1.1 server, run as a process in the wall's namespace.

    python -m xdpwall.lab.server PORT

It ends when its standard input does, so it cannot outlive the lab.
"""

from __future__ import annotations

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = b"".join(b"%05d the platform is up and its data are whole\n" % line for line in range(100))
"""The page. The client knows it, and compares every byte."""


class Handler(BaseHTTPRequestHandler):
    """Answers every GET with the same page, and keeps the connection open when asked to."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    # One segment of head and body: with two, Nagle's algorithm and delayed ACKs would add 40 ms of their own.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Send the page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server uses
        """Say nothing: a line for each request would be the slowest part."""


class Server(ThreadingHTTPServer):
    """Both families on one socket."""

    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 1024

    def server_bind(self) -> None:
        """Take IPv4 too."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is no news."""
        error = sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def main() -> None:
    """Serve until standard input ends."""
    server = Server(("::", int(sys.argv[1])), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while sys.stdin.read(4096):
        pass
    server.shutdown()


if __name__ == "__main__":
    main()

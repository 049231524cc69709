# SPDX-License-Identifier: Apache-2.0
"""Services that take whatever comes, run as a process in the protected host's namespace.

    python -m xdpwall.lab.sink udp/27015 tcp/4444 ...

A datagram is read and forgotten; a connection is accepted and closed when the peer closes it. The process says
``ready``, or what it could not open, on standard output, and ends when its standard input does.
"""

from __future__ import annotations

import functools
import selectors
import socket
import sys

_ROOM = 65_536
_AT_ONCE = 64


def listen(place: str) -> socket.socket:
    """Open ``udp/PORT`` or ``tcp/PORT`` for both families.

    Raises:
        OSError: it is taken.
    """
    protocol, _, port = place.partition("/")
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("::", int(port)))
        if protocol == "tcp":
            sock.listen(1_024)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _take(sock: socket.socket) -> None:
    try:
        for _ in range(_AT_ONCE):
            sock.recv(_ROOM)
    except OSError:
        return  # nothing more for now, or an ICMP error for an answer that nobody sent


def _accept(selector: selectors.BaseSelector, sock: socket.socket) -> None:
    try:
        peer, _ = sock.accept()
    except OSError:
        return  # it went away before it was accepted
    peer.setblocking(False)
    selector.register(peer, selectors.EVENT_READ, functools.partial(_until_closed, selector, peer))


def _until_closed(selector: selectors.BaseSelector, peer: socket.socket) -> None:
    try:
        if peer.recv(_ROOM):
            return
    except BlockingIOError:
        return
    except OSError:
        pass  # reset: as good as closed
    selector.unregister(peer)
    peer.close()


def main() -> None:
    """Listen until standard input ends."""
    selector = selectors.DefaultSelector()
    for place in sys.argv[1:]:
        try:
            sock = listen(place)
        except OSError as error:
            sys.stdout.write(f"{place}: {error.strerror}\n")
            sys.exit(1)
        if sock.type == socket.SOCK_DGRAM:
            work = functools.partial(_take, sock)
        else:
            work = functools.partial(_accept, selector, sock)
        selector.register(sock, selectors.EVENT_READ, work)
    selector.register(sys.stdin, selectors.EVENT_READ, lambda: sys.exit(0))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        for key, _ in selector.select():
            key.data()


if __name__ == "__main__":
    main()

"""A TCP proxy between clients and a broker that can leave connections half open: taken, and never answered again."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import Any


class Proxy(socketserver.ThreadingTCPServer):
    """Listens on loopback, in threads of its own; use it in a ``with`` block.

    A broker whose ``advertised.listeners`` is ``address`` is reached through it alone. ``target``: the broker's port.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Link)
        self.target = 0
        self.hole = threading.Event()
        self.epoch = 0
        """What was connected in an earlier one stays mute for good."""
        self.taken = 0
        """Connections that were accepted and got no answer."""
        self.swallowed = 0
        """Bytes that went nowhere."""
        self.open: set[socket.socket] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def mute(self) -> None:
        """From now on nothing is answered, on connections that there are and on new ones."""
        self.hole.set()
        self.epoch += 1

    def answer(self) -> None:
        """New connections work again."""
        self.hole.clear()

    def __enter__(self) -> Proxy:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        for link in list(self.open):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)


class _Link(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        near, proxy = self.request, self.server
        if proxy.hole.is_set():
            proxy.taken += 1
            self._pump(near, None, -1)
            return
        with socket.create_connection(("127.0.0.1", proxy.target)) as far:
            back = threading.Thread(target=self._pump, args=(far, near, proxy.epoch), daemon=True)
            back.start()
            self._pump(near, far, proxy.epoch)
            back.join()

    def _pump(self, source: Any, sink: Any, epoch: int) -> None:
        """Passes on what comes while it is of this epoch, and swallows the rest, until one side ends."""
        proxy = self.server
        proxy.open.add(source)
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if epoch == proxy.epoch:
                    sink.sendall(data)
                else:
                    proxy.swallowed += len(data)
        proxy.open.discard(source)
        with contextlib.suppress(OSError):
            if sink is not None:
                sink.shutdown(socket.SHUT_RDWR)

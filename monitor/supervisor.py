"""What systemd is told of a daemon (``Type=notify``): that it is ready, reads its settings again, stops, and lives.

A datagram to the socket that systemd names in the environment, as sd_notify(3) has it. Where it names none (a terminal,
a container) nothing is said.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping

import structlog

log = structlog.get_logger(__name__)

SHARE = 0.4
"""Of systemd's time-out between two signs of life: one may be late, and it is still in time."""


class Supervisor:
    """``address``: the socket; empty for nobody. ``patience``: seconds without a sign of life that systemd bears."""

    def __init__(self, address: str = "", patience: float | None = None) -> None:
        # A name in the abstract namespace is written with @ and begins with a zero byte.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._patience = patience

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Supervisor:
        """The one that ``environ`` names; the watchdog may be meant for another process than this."""
        meant = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        patience = environ.get("WATCHDOG_USEC", "") if meant else ""
        return cls(environ.get("NOTIFY_SOCKET", ""), int(patience) / 1e6 if patience.isdecimal() else None)

    def ready(self) -> None:
        self._say("READY=1", "STATUS=running")

    def waits(self, why: str) -> None:
        self._say(f"STATUS={why}")

    def reloading(self) -> None:
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._say("STOPPING=1")

    async def live(self) -> None:
        """Signs of life from the event loop, for good: a loop that something holds up gives none, and is ended."""
        if self._patience is None or not self._address:
            return
        while True:
            self._say("WATCHDOG=1")
            await asyncio.sleep(SHARE * self._patience)

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:  # the daemon's work does not depend on who watches it
            log.warning("supervisor_unreachable", action="go_on", error=str(error))

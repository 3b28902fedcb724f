"""What the suites of channels share: a real receiver on loopback that can misbehave, and a way to each channel.

A new kind joins the contract by a ``Bench`` of its own in ``BENCHES``.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from alerts.channels import Channel, CollectingChannel, LogChannel, Outcome, WebhookChannel, build
from monitor.http import GuardedClient

KEYS = [base64.b64encode(random.Random(n).randbytes(32)).decode() for n in range(3)]
SECRETS = [f"whsec_{key}" for key in KEYS]


@dataclass
class Request:
    """One request as it came over the wire."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Fault:
    """How the receiver answers once: bytes, then perhaps a drip, a reset, or silence."""

    answer: bytes = b""
    drip: float = 0.0
    """Seconds between the bytes of the answer."""
    reset: bool = False
    silent: bool = False
    flood: int = 0
    """Bytes of body to send after the answer, as far as anybody reads them."""


OK = Fault(b"HTTP/1.1 204 No Content\r\n\r\n")


def answering(status: int, *headers: str, body: bytes = b"") -> Fault:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return Fault("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


@dataclass
class Receiver:
    """An HTTP receiver written on sockets, so that it can break every rule."""

    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    """Given first, in order; then every request is answered by ``then``."""
    then: Fault = field(default_factory=lambda: OK)
    requests: list[Request] = field(default_factory=list)
    injected: int = 0
    flooded: int = 0
    """Bytes of floods that were taken."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                self.injected += bool(self.faults)
                await self._answer(self.faults.pop(0) if self.faults else self.then, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, fault: Fault, writer: asyncio.StreamWriter) -> None:
        if fault.silent:
            await asyncio.sleep(60)
        if fault.drip:
            for place in range(len(fault.answer)):
                writer.write(fault.answer[place : place + 1])
                await writer.drain()
                await asyncio.sleep(fault.drip)
        writer.write(b"" if fault.drip else fault.answer)
        await writer.drain()
        while self.flooded < fault.flood:
            writer.write(b"x" * 65_536)
            await writer.drain()
            self.flooded += 65_536
        if fault.reset:
            writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that listens while the block runs."""
    one, tasks = Receiver(), set[asyncio.Task[None]]()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
        await one.serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def client(*allow: str) -> AsyncIterator[GuardedClient]:
    """The production client; loopback is allowed unless ranges are given."""
    one = GuardedClient(allow or ("127.0.0.0/8",))
    try:
        yield one
    finally:
        await one.close()


class Bench(msgspec.Struct):
    """A channel, what arrived at its far end as (event, body), and a way to make it fail once."""

    channel: Channel
    seen: Callable[[], list[tuple[str, bytes]]]
    fail: Callable[[], None] | None


@asynccontextmanager
async def webhook_bench() -> AsyncIterator[Bench]:
    async with receiver() as far, client() as http:
        channel = build("webhook", "desk", {"url": far.url, "secrets": SECRETS[:1], "timeout": 2.0}, http)
        assert isinstance(channel, WebhookChannel)
        yield Bench(
            channel,
            lambda: [(request.headers["webhook-id"], request.body) for request in far.requests],
            lambda: far.faults.append(answering(503)),
        )


@asynccontextmanager
async def alertmanager_bench() -> AsyncIterator[Bench]:
    async with receiver() as far, client() as http:
        inner = build("alertmanager", "desk", {"url": f"http://127.0.0.1:{far.port}", "timeout": 2.0}, http)
        given: dict[str, list[bytes]] = {}

        class Watched:
            """It posts another form of the body, so the bodies given are kept to compare."""

            name, kind = inner.name, inner.kind

            async def send(self, event: str, body: bytes, timestamp: float) -> Outcome:
                given.setdefault(event, []).append(body)
                return await inner.send(event, body, timestamp)

        def seen() -> list[tuple[str, bytes]]:
            found = []
            for request in far.requests:
                assert request.path == "/api/v2/alerts"
                (alert,) = msgspec.json.decode(request.body)
                (body,) = set(given[alert["annotations"]["event_id"]])
                assert alert["annotations"]["summary"] == msgspec.json.decode(body)["data"]["summary"]
                found.append((alert["annotations"]["event_id"], body))
            return found

        yield Bench(Watched(), seen, lambda: far.faults.append(answering(503)))


@asynccontextmanager
async def collecting_bench() -> AsyncIterator[Bench]:
    answers: list[Outcome] = []
    channel = CollectingChannel("desk", answers=answers)

    def fail() -> None:
        channel.answer_next(Outcome(ok=False, reason="server_error", status=503))

    yield Bench(channel, lambda: [(event, body) for event, body, _ in channel.received], fail)


@asynccontextmanager
async def log_bench() -> AsyncIterator[Bench]:
    from structlog.testing import capture_logs

    bodies: list[tuple[str, bytes]] = []
    inner = LogChannel("desk")

    class Watched:
        name, kind = inner.name, inner.kind

        async def send(self, event: str, body: bytes, timestamp: float) -> Outcome:
            with capture_logs() as lines:
                outcome = await inner.send(event, body, timestamp)
            assert lines[0]["summary"] == msgspec.json.decode(body)["data"]["summary"]
            bodies.append((lines[0]["event_id"], body))
            return outcome

    yield Bench(Watched(), lambda: bodies, None)


BENCHES: dict[str, Callable[[], AbstractAsyncContextManager[Bench]]] = {
    "webhook": webhook_bench,
    "alertmanager": alertmanager_bench,
    "collecting": collecting_bench,
    "log": log_bench,
}

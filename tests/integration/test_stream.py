"""The stream: events with ids, nothing lost or told twice over a broken line, and nobody held up by who does not read."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY

from monitor import streaming
from monitor.broadcast import Broadcast
from tests.inside_bench import Inside, inside

SETTINGS = '[[watchlists]]\nname = "mine"\nentities = [{ name = "Acme Corp", aliases = ["Acme"] }]\n'


@asynccontextmanager
async def listening(
    one: Inside, query: str = "", last: str | None = None
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    headers = {"last-event-id": last} if last else {}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_read=20)) as session,
        session.get(f"{one.web.address}/api/v1/stream{query}", headers=headers) as answer,
    ):
        assert answer.status == 200 and answer.content_type == "text/event-stream"
        yield _events(answer)


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    found: dict[str, Any] = {}
    async for line in answer.content:
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field:
            found[field] = value
            continue
        if "data" in found:
            yield {**found, "data": json.loads(found["data"])}
        found = {}


async def titles(events: AsyncIterator[dict[str, Any]], count: int) -> list[tuple[str, str]]:
    """(id, title) of the next documents."""
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(20):
        async for one in events:
            assert one["event"] != "reset"
            if one["event"] == "document":
                found.append((one["id"], one["data"]["title"]))
            if len(found) == count:
                break
    return found


async def push(one: Inside, first: int, count: int, words: str = "Acme opens depot") -> list[str]:
    names = [f"{words} {first + n}" for n in range(count)]
    assert (
        await one.push(
            *({"title": name, "url": f"https://x.example/{words[:9]}/{first + n}"} for n, name in enumerate(names))
        )
    )[0] == 202
    return names


async def test_who_comes_back_gets_what_it_missed_and_nothing_twice(tmp_path: Path) -> None:
    async with inside(tmp_path, SETTINGS) as one:
        async with listening(one) as events:
            early = await push(one, 0, 5)
            seen = await titles(events, 3)
        missed = await push(one, 5, 20)
        await one.until(lambda: one.daemon.read_model.count() == 25, "documents in the view")
        async with listening(one, last=seen[-1][0]) as events:
            late = await push(one, 25, 2)
            again = await titles(events, 24)
        assert sorted(title for _, title in seen + again) == sorted(early + missed + late)
        async with listening(one, f"?last_event_id={seen[-1][0]}") as events:
            assert await titles(events, 24) == again, "by query it is the same"


@pytest.mark.parametrize(
    "last", ["nonsense", "deadbeef-3", "-", "deadbeef-99999999999999999999999", "\\u00b2-1", "x" * 5_000]
)
async def test_an_id_that_is_too_old_or_another_s_begins_anew(tmp_path: Path, last: str) -> None:
    async with inside(tmp_path, SETTINGS) as one:
        async with listening(one, last=last) as events:
            first = await anext(events)
            assert first["event"] == "reset"
            names = await push(one, 0, 2)
            assert {title for _, title in await titles(events, 2)} == set(names)
        async with listening(one, last=first["id"]) as events:
            assert {title for _, title in await titles(events, 2)} == set(names), "a reset's own id is good"


async def test_only_what_is_asked_for_is_told(tmp_path: Path) -> None:
    async with inside(tmp_path, SETTINGS) as one:
        async with listening(one, "?types=document&key=entity:acme-corp") as events:
            await push(one, 0, 3, "Borealis opens mill")
            names = await push(one, 0, 3)
            got = [await anext(events) for _ in range(3)]
        assert {event["data"]["title"] for event in got} == set(names)
        assert all("entity:acme-corp" in event["data"]["keys"] for event in got)
        async with listening(one, "?types=alert,series&key=market") as events:
            await one.ring()
            kinds = {(await anext(events))["event"] for _ in range(1)}
        assert kinds <= {"alert", "series"}
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{one.web.address}/api/v1/stream?types=alert,news") as answer:
                problem = await answer.json()
        assert answer.status == 400 and problem["parameter"] == "types" and problem["value"] == "news", problem


async def test_a_silent_line_says_that_it_lives_and_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "HEARTBEAT", 0.2)
    async with inside(tmp_path, SETTINGS) as one:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{one.web.address}/api/v1/stream?types=alert") as answer,
        ):
            await push(one, 0, 3)
            await one.until(lambda: one.daemon.read_model.count() == 3, "documents in the view")
            events, text = one.daemon.viewer.events, ""
            async with asyncio.timeout(10):
                while f": still here\n{events.id(events.end).decode()}\n" not in text:
                    text += (await answer.content.readany()).decode()
            assert "event:" not in text and events.end >= 3


async def test_who_never_reads_holds_nobody_up_and_is_let_go_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "PATIENCE", 1.0)
    slow = counted("tapewatch_streams_ended_total", why="slow")
    async with inside(tmp_path, SETTINGS) as one:
        one.daemon.viewer.events = Broadcast(kept=300)
        host, _, port = one.web.address.removeprefix("http://").partition(":")
        stuck = socket.socket()
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        await asyncio.to_thread(stuck.connect, (host, int(port)))
        stuck.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with listening(one) as events:
            padding, told = "ore" * 80, list[str]()
            for round_ in range(60):  # more than the system's own buffers hold of one line
                names = await push(one, 100 * round_, 100, f"Acme {padding}")
                told += [title for _, title in await titles(events, 100)]
                assert set(told[-100:]) == set(names), "another's silence made holes"
        got = await asyncio.to_thread(_rest, stuck)
        assert got < 60 * 100 * len(padding) * 3, "it had all of it"
        assert counted("tapewatch_streams_ended_total", why="slow") == slow + 1


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def _rest(line: socket.socket) -> int:
    """Bytes that were under way when the other side closed; fails where it never did."""
    line.settimeout(5)
    count = 0
    with line:
        while part := line.recv(2**16):
            count += len(part)
    return count


async def test_who_reads_too_slowly_is_told_to_begin_anew(tmp_path: Path) -> None:
    async with inside(tmp_path, SETTINGS) as one:
        one.daemon.viewer.events = events = Broadcast(kept=50)
        async with listening(one, last=None) as slow:
            await push(one, 0, 1)
            assert await titles(slow, 1)
            before = events.id(events.end).decode().strip().removeprefix("id: ")
            await push(one, 1, 120)
            await one.until(lambda: one.daemon.read_model.count() == 121, "documents in the view")
        resets = counted("tapewatch_stream_resets_total")
        async with listening(one, last=before) as late:
            assert (await anext(late))["event"] == "reset"
            assert counted("tapewatch_stream_resets_total") == resets + 1
            assert counted("tapewatch_stream_listeners") >= 1

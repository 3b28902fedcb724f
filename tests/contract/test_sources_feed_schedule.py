"""Feeds over HTTP: conditional requests, moves, ends, Retry-After, what a feed asks for, back-off, politeness."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
import pytest_asyncio

from monitor.http import PER_HOST, GuardedClient
from pipelines.parse import Jail
from pipelines.sources import feeds, registry
from pipelines.sources.base import Tools
from pipelines.sources.schedule import BACKOFF_TO, DEFAULT_INTERVAL, RETRY_AFTER_TO
from tests.contract.feed_server import NOW, FeedServer, answering, entry, hanging, resetting, serving
from tests.contract.source_bench import BenchClock, Driver, Log, tools

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOUR = 3_600.0


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[FeedServer]:
    async with serving(entries=[entry(n) for n in range(3)]) as one:
        yield one


def drive(server: FeedServer, given: Tools, log: Log | None = None, **options: Any) -> Driver:
    fields = {"name": "wire", "url": server.url, "interval": 60.0} | options
    assert isinstance(given.clock, BenchClock)
    return Driver(registry.build("feed", fields, given), given.clock, log or Log())


# -- conditional requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("etag", "modified"),
    [
        ('W/"a, b;c"', None),
        ("unquoted éé", None),
        (None, "Mon, 21 Sep 2026 14:00:00 GMT"),
        (None, "2026-09-21 some time"),
        ('"x"', "yesterday"),
    ],
)
async def test_validators_are_echoed_byte_for_byte_also_after_a_restart(
    server: FeedServer, given: Tools, etag: str | None, modified: str | None
) -> None:
    server.etag, server.modified = etag, modified
    log = Log()
    driver = drive(server, given, log)
    await driver.polls(3)
    await driver.stop()
    again = drive(server, given, log)
    await again.polls(2)
    asked = [(one.headers.get("if-none-match"), one.headers.get("if-modified-since")) for one in server.requests]
    assert asked == [(None, None)] + [(etag, modified)] * 4
    assert [one.status for one in server.requests] == [200, 304, 304, 304, 304]
    assert [one.sent for one in server.requests][1:] == [0, 0, 0, 0]
    assert driver.handed + again.handed == len(log.documents) == 3
    assert again.source.status.state == "up"
    assert again.source.status.last_success is not None


async def test_a_feed_that_drops_its_validators_is_asked_without_them(server: FeedServer, given: Tools) -> None:
    server.etag = '"1"'
    driver = drive(server, given)
    await driver.poll()
    server.etag = None
    await driver.polls(2)
    assert [one.headers.get("if-none-match") for one in server.requests] == [None, '"1"', None]
    assert (driver.handed, len(driver.log.documents)) == (3, 3), "the same entries again are not handed on"


# -- ends and moves ---------------------------------------------------------------------------------------


async def test_410_ends_the_feed_and_says_so_and_a_restart_asks_once_more(server: FeedServer, given: Tools) -> None:
    log = Log()
    driver = drive(server, given, log)
    await driver.poll()
    server.always = answering(410)
    await driver.poll()
    assert await driver.poll() is None, "it must not be asked again"
    status = driver.source.status
    assert (status.state, status.next_poll) == ("stopped", None)
    assert "410" in (status.reason or "")
    again = drive(server, given, log)
    await again.poll()
    assert await again.poll() is None
    assert (len(server.requests), server.injected) == (3, 2)


@pytest.mark.parametrize("code", [301, 308])
async def test_a_permanent_redirect_moves_the_feed_for_good(server: FeedServer, given: Tools, code: int) -> None:
    log = Log()
    server.paths["/feed"] = answering(code, location="/new")
    driver = drive(server, given, log)
    await driver.polls(2)
    await driver.stop()
    again = drive(server, given, log)
    await again.poll()
    assert [one.path for one in server.requests] == ["/feed", "/new", "/new", "/new"]
    other = drive(server, given, log, url=server.url + "?edited")
    await other.poll()
    assert [one.path for one in server.requests][4:] == ["/feed", "/new"], "the settings' own change comes first"
    assert len(log.documents) == 3


@pytest.mark.parametrize("code", [302, 303, 307])
async def test_a_temporary_redirect_is_followed_and_forgotten(server: FeedServer, given: Tools, code: int) -> None:
    server.paths["/feed"] = answering(301, location="/hop")
    server.paths["/hop"] = answering(code, location="/new")
    driver = drive(server, given)
    await driver.polls(2)
    assert [one.path for one in server.requests] == ["/feed", "/hop", "/new"] * 2
    assert len(driver.log.documents) == 3


@pytest.mark.parametrize("beyond", [answering(404), answering(200, b"<html><body>Sold</body></html>"), answering(500)])
async def test_a_move_to_where_no_feed_is_is_not_taken(server: FeedServer, given: Tools, beyond: Any) -> None:
    driver = drive(server, given)
    await driver.poll()
    server.paths = {"/feed": answering(301, location="/lost"), "/lost": beyond}
    await driver.polls(2)
    assert driver.source.status.streak == 2
    server.paths = {}
    server.entries = [entry(9), *server.entries]
    await driver.polls(2)
    assert [one.path for one in server.requests] == ["/feed", "/feed", "/lost", "/feed", "/lost", "/feed", "/feed"]
    assert (driver.source.status.state, len(driver.log.documents)) == ("up", 4)


@pytest.mark.parametrize(
    "target", ["/feed", "http://[bad", "http://user:word@wire.example/", "file:///etc/passwd", "//"]
)
async def test_a_redirect_to_nowhere_is_a_reason(server: FeedServer, given: Tools, target: str) -> None:
    server.always = answering(301, location=target)
    driver = drive(server, given)
    await driver.polls(2)
    assert server.injected >= 2
    assert (driver.source.status.state, driver.source.status.streak) == ("down", 2)
    assert driver.source.status.reason


# -- what servers ask for ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("7000", 7_000.0),
        ("5", 60.0),
        ("99999999999999", RETRY_AFTER_TO),
        (format_datetime(datetime.fromtimestamp(NOW + 7_000.0, UTC), usegmt=True), 7_000.0),
        (format_datetime(datetime.fromtimestamp(NOW - 7_000.0, UTC), usegmt=True), 60.0),
        (format_datetime(datetime.fromtimestamp(NOW + 1e9, UTC), usegmt=True), RETRY_AFTER_TO),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 60.0),
        ("²", 60.0),
        ("in a while", 60.0),
    ],
)
async def test_retry_after_is_honoured_and_clamped(
    server: FeedServer, given: Tools, code: int, value: str, wait: float
) -> None:
    server.faults = [answering(code, retry_after=value)]
    driver = drive(server, given)
    await driver.poll()
    status = driver.source.status
    assert server.injected == 1
    assert f"HTTP {code}" in (status.reason or "")
    assert (status.next_poll or 0.0) - NOW == pytest.approx(wait)
    await driver.poll()
    assert driver.waits == [pytest.approx(wait)]
    await driver.poll()
    assert driver.waits[1:] == [60.0], "one answer's wish does not outlive it"


@pytest.mark.parametrize(
    ("head", "headers", "wait"),
    [
        ("", {}, DEFAULT_INTERVAL),
        ("<ttl>20</ttl>", {}, 1_200.0),
        ("<ttl>20</ttl>", {"Cache-Control": "max-age=1800"}, 1_800.0),
        ("<ttl>20</ttl>", {"Cache-Control": "no-cache, max-age=0"}, 1_200.0),
        ("<ttl>0</ttl>", {"Cache-Control": "max-age=0"}, DEFAULT_INTERVAL),
        ("", {"Cache-Control": "max-age=1"}, 30.0),
        ("<ttl>10000</ttl>", {}, HOUR),
        ("<ttl>²</ttl>", {}, DEFAULT_INTERVAL),
        # Many programs write "hourly" unasked: it is no wish.
        ("<sy:updatePeriod>hourly</sy:updatePeriod><sy:updateFrequency>1</sy:updateFrequency>", {}, DEFAULT_INTERVAL),
        # 14:13 with all hours to leave alone from the 14th to the 17th: 18:00.
        ("<skipHours><hour>14</hour><hour>15</hour><hour>16</hour><hour>17</hour></skipHours>", {}, 13_600.0),
    ],
)
async def test_what_a_feed_asks_for_steers_it_unless_an_interval_is_set(
    server: FeedServer, given: Tools, head: str, headers: dict[str, str], wait: float
) -> None:
    server.head, server.headers, server.etag = head, headers, '"1"'
    log = Log()
    driver = drive(server, given, log, interval=None)
    await driver.polls(2)
    assert driver.waits == [pytest.approx(wait)]
    server.headers = {}
    await driver.poll()
    assert server.requests[-1].status == 304
    await driver.stop()
    again = drive(server, given, log, interval=None)
    await again.poll()
    if "skip" not in head:
        planned = (again.source.status.next_poll or 0.0) - given.clock.time()
        assert planned == pytest.approx(wait), "kept over 304 and restart"
    explicit = drive(server, given, interval=5.0)
    await explicit.polls(2)
    assert explicit.waits == [5.0]


# -- back-off ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["500", "refused", "reset", "html", "truncated"])
async def test_failures_back_off_with_jitter_to_the_cap_and_one_success_ends_it(
    server: FeedServer, clock: BenchClock, jail: Jail, fault: str
) -> None:
    broken = {
        "500": answering(500),
        "reset": resetting,
        "html": answering(200, b"<!DOCTYPE html><html><body>Please sign in</body></html>"),
        "truncated": answering(200, b"\x1f\x8b\x08", content_encoding="gzip"),
    }
    async with tools(clock, jail, draw=0.5) as given:
        driver = drive(server, given)
        await driver.poll()
        if fault == "refused":
            await server.stop()
        else:
            server.always = broken[fault]
        await driver.polls(9)
        status, waits = driver.source.status, driver.waits[1:]
        assert [round(wait / 1.1) for wait in waits] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
        assert max(waits) <= BACKOFF_TO * 1.2
        assert (status.state, status.streak) == ("down", 9)
        assert status.reason
        assert fault == "refused" or server.injected >= 9, (server.injected, len(server.requests))
        if fault == "refused":
            await server.start()
        server.always = None
        server.entries = [entry(7), *server.entries]
        await driver.polls(2)
        status = driver.source.status
        assert (status.state, status.streak, status.reason) == ("up", 0, None)
        assert driver.waits[-1] == pytest.approx(63.0 - 1.5)
        assert driver.log.titles[-1] == entry(7).title
        print(f"{fault}: injected {server.injected}, failures seen 9, requests {len(server.requests)}")


async def test_one_hiccup_is_no_death_and_three_are(server: FeedServer, given: Tools) -> None:
    driver = drive(server, given)
    await driver.poll()
    states = []
    for _ in range(3):
        server.faults = [answering(502)]
        await driver.poll()
        states.append(driver.source.status.state)
    assert (states, server.injected) == (["up", "up", "down"], 3)


# -- others are not delayed -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["silent", "drip"])
async def test_a_hung_feed_meets_its_deadline_and_others_keep_their_interval(
    server: FeedServer, given: Tools, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(feeds, "DEADLINE", 1.0)
    async with serving(always=hanging(drip=how == "drip")) as bad:
        hung = registry.build("feed", {"name": "hung", "url": bad.url, "interval": 60.0}, given)
        running = hung.batches(None)
        waiting = asyncio.ensure_future(anext(running))
        while not bad.inside:
            await asyncio.sleep(0.001)
        driver = drive(server, given)
        await driver.polls(6)
        assert not waiting.done(), "the fault ended before the others were looked at"
        assert driver.waits == [60.0] * 5
        assert len(server.requests) == 6
        await asyncio.wait_for(waiting, 20.0)
        assert bad.injected == 1
        assert (hung.status.state, hung.status.streak) == ("down", 1)
        assert "timeout" in (hung.status.reason or "")
        await running.aclose()


async def test_one_host_is_asked_a_few_things_at_a_time(server: FeedServer, given: Tools) -> None:
    drivers = [drive(server, given, name=f"wire-{n}", url=f"{server.url}/{n}") for n in range(12)]
    server.always = hanging(0.05)
    await asyncio.gather(*(driver.poll() for driver in drivers))
    assert server.injected == 12
    assert 1 < server.most <= PER_HOST


async def test_a_hundred_hosts_that_hang_hold_up_nobody(server: FeedServer) -> None:
    bad = FeedServer(always=hanging())
    await bad.start("0.0.0.0")
    client = GuardedClient(["127.0.0.0/8"])

    async def ask(url: str) -> int:
        return (await client.get(url, headers={}, max_bytes=1_000_000, deadline=20.0)).status

    asked = [
        asyncio.ensure_future(ask(f"http://127.0.0.{host}:{bad.port}/"))
        for host in range(2, 32)
        for _ in range(PER_HOST)
    ]
    try:
        async with asyncio.timeout(20.0):
            while bad.inside < len(asked):
                await asyncio.sleep(0.005)
        started = time.monotonic()
        assert await ask(server.url) == 200
        assert time.monotonic() - started < 5.0
        assert bad.inside == 120
    finally:
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await client.close()
        await bad.stop()

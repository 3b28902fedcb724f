"""What every kind of source promises."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from pipelines.sources import registry
from pipelines.sources.base import SourceConfigError, Tools
from tests.conftest import need_kafka
from tests.contract.feed_server import NOW, entry
from tests.contract.source_bench import BENCHES, Bench, BenchClock, Driver, KafkaBench, Log, build
from tests.kafka_cluster import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A broker of this module's own: its tests kill it."""
    need_kafka()
    with Cluster(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module", params=sorted(BENCHES))
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    one = BENCHES[request.param]()
    if isinstance(one, KafkaBench):
        one.cluster = request.getfixturevalue("broker")
    await one.open(tmp_path)
    yield one
    await one.close()


def up(source: str) -> float | None:
    return REGISTRY.get_sample_value("tapewatch_source_up", {"source": source})


async def start(bench: Bench, given: Tools, clock: BenchClock, log: Log) -> Driver:
    return Driver(build(bench, given), clock, log)


async def until_new(driver: Driver, count: int) -> None:
    """Polls until the log holds ``count`` documents, five times at most."""
    for _ in range(5):
        await driver.poll()
        if len(driver.log.documents) >= count:
            return
    raise AssertionError(f"{len(driver.log.documents)} documents of {count}: {driver.source.status}")


async def test_every_kind_that_can_be_configured_is_under_contract() -> None:
    assert set(registry.OPTIONS) - {"stdin"} == {make().kind for make in BENCHES.values()}


async def test_each_item_comes_once_with_its_words_address_and_date(
    bench: Bench, given: Tools, clock: BenchClock
) -> None:
    driver = await start(bench, given, clock, Log())
    await bench.publish(*(entry(n, body=f"Words of {n} & <more>", published=NOW - 600.0 + n) for n in range(3)))
    await until_new(driver, 3)
    await bench.publish(entry(3), entry(4))
    await until_new(driver, 5)
    await driver.polls(3)
    found = driver.log.documents
    assert sorted(one.title for one in found) == sorted(entry(n).title for n in range(5))
    first = next(one for one in found if one.title == entry(0).title)
    assert (first.url, first.source, first.class_) == ("https://wire.example/0", "wire", "news")
    assert first.text.startswith("Words of 0 &")
    assert first.published == "2026-09-21T14:03:20.000Z"
    assert {one.revision for one in found} == {0}
    assert len({one.id for one in found}) == 5
    status = driver.source.status
    assert (status.state, status.reason, status.items_total) == ("up", None, 5)
    assert status.last_success is not None
    assert status.last_new is not None
    assert status.last_success >= status.last_new


async def test_nothing_is_said_for_a_source_before_it_was_read(bench: Bench, given: Tools, clock: BenchClock) -> None:
    log = Log()
    driver = await start(bench, given, clock, log)
    before = driver.source.status
    before.measure()
    assert (before.state, before.reason, before.unread, up(driver.source.name)) == ("up", None, True, 0.0)
    await bench.publish(entry(0))
    await until_new(driver, 1)
    await driver.poll()
    assert (driver.source.status.unread, up(driver.source.name)) == (False, 1.0)
    await driver.stop()


async def test_a_pipe_is_read_from_the_start_however_silent_its_writer(
    given: Tools, clock: BenchClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe, os.fdopen(writing, "wb") as writer:
        monkeypatch.setattr(sys, "stdin", pipe)
        source = registry.build("stdin", {"name": "pipe"}, given)
        assert source.status.unread
        batches = source.batches(None)
        first = asyncio.ensure_future(anext(batches))
        while source.status.unread:
            await asyncio.sleep(0.001)
        assert not first.done() and up("pipe") == 1.0 and source.status.last_new is None
        writer.write(b'{"title": "Acme opens a depot"}\n')
        writer.flush()
        assert [item.title for item in (await first).items] == ["Acme opens a depot"]
        writer.close()
        with pytest.raises(StopAsyncIteration):
            await anext(batches)
    assert source.status.ended and up("pipe") == 1.0


async def test_a_restart_brings_nothing_twice_and_what_came_meanwhile(
    bench: Bench, given: Tools, clock: BenchClock
) -> None:
    log = Log()
    driver = await start(bench, given, clock, log)
    await bench.publish(*(entry(n) for n in range(3)))
    await until_new(driver, 3)
    await driver.stop()
    await bench.publish(entry(3))
    again = await start(bench, given, clock, log)
    await until_new(again, 4)
    await again.polls(2)
    assert sorted(log.titles) == sorted(entry(n).title for n in range(4))


async def test_a_kill_before_the_log_had_the_batch_loses_nothing(
    bench: Bench, given: Tools, clock: BenchClock, counted: Callable[..., None]
) -> None:
    log = Log()
    driver = await start(bench, given, clock, log)
    await bench.publish(entry(0))
    await until_new(driver, 1)
    await bench.publish(entry(1), entry(2))
    for _ in range(2):
        await driver.poll(lose=True)
    await driver.stop()
    assert len(log.documents) == 1
    again = await start(bench, given, clock, log)
    await until_new(again, 3)
    assert sorted(log.titles) == sorted(entry(n).title for n in range(3))
    counted(f"kill before the log, {bench.kind}", items_lost_with_it=driver.lost, brought_again=len(log.documents) - 1)


async def test_an_edit_under_its_own_guid_is_a_revision_and_no_news(
    bench: Bench, given: Tools, clock: BenchClock
) -> None:
    driver = await start(bench, given, clock, Log())
    await bench.publish(entry(0))
    await until_new(driver, 1)
    await bench.publish(entry(0, title="Brackwater quay 0 corrects its report"))
    await until_new(driver, 2)
    first, second = driver.log.documents
    assert (second.id, second.revision) == (first.id, 1)


async def test_trouble_is_one_reason_in_health_and_ends_by_itself(
    bench: Bench, given: Tools, clock: BenchClock, counted: Callable[..., None]
) -> None:
    driver = await start(bench, given, clock, Log())
    await bench.publish(entry(0))
    await until_new(driver, 1)
    await bench.fail()
    outcomes = await driver.polls(3)
    status = driver.source.status
    assert all(outcome is not None for outcome in outcomes)
    assert status.state == "down"
    assert status.reason is not None
    assert "\n" not in status.reason
    assert status.last_success is not None
    assert status.last_success < clock.time()
    failed, reason = status.streak, status.reason
    await bench.mend()
    await bench.publish(entry(1))
    await until_new(driver, 2)
    await driver.poll()
    status = driver.source.status
    assert (status.state, status.reason, status.streak) == ("up", None, 0)
    assert driver.log.titles == [entry(n).title for n in range(2)]
    counted(f"trouble, {bench.kind}: {reason[:60]}", polls_in_it=len(outcomes), failed=failed, new_after_it=1)


async def test_a_source_that_was_never_read_is_down_and_says_why(
    bench: Bench, given: Tools, clock: BenchClock, counted: Callable[..., None]
) -> None:
    await bench.fail()
    driver = await start(bench, given, clock, Log())
    await driver.poll()
    status = driver.source.status
    assert (status.state, status.last_success, status.last_new) == ("down", None, None)
    assert status.reason
    counted(f"never read, {bench.kind}: {status.reason[:60]}", polls=1, failed=status.streak)


@pytest.mark.parametrize("bad", [b"", b"\xc1", b"no cursor", b"\x93\x01\x02\x03", b"\x81\xa1x\x01"])
async def test_a_cursor_of_another_kind_or_torn_starts_anew(
    bench: Bench, given: Tools, clock: BenchClock, bad: bytes, counted: Callable[..., None]
) -> None:
    log = Log()
    log.cursor = bad
    driver = await start(bench, given, clock, log)
    await bench.publish(entry(0))
    await until_new(driver, 1)
    assert log.cursor != bad
    counted(f"torn cursor {bad!r}, {bench.kind}", injected=1, read_from_the_beginning=len(log.documents))


async def test_settings_that_cannot_work_are_named_when_the_source_is_built(bench: Bench, given: Tools) -> None:
    with pytest.raises(SourceConfigError, match=r"wire.*speed"):
        build(bench, given, speed=1)
    with pytest.raises(SourceConfigError, match=r"wire.*class"):
        build(bench, given, **{"class": "rumour"})
    with pytest.raises(SourceConfigError, match=r"wire.*timezone.*Atlantis"):
        build(bench, given, timezone="Europe/Atlantis")
    with pytest.raises(SourceConfigError, match=r"carrier_pigeon.*feed"):
        registry.build("carrier_pigeon", bench.options, given)

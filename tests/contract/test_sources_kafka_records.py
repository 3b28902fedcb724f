"""What a topic of the user's own may do to its reader, beyond what every kind of source promises."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from kafka import KafkaAdminClient
from prometheus_client import REGISTRY

from pipelines.parse import Jail
from pipelines.sources import registry
from pipelines.sources.base import SourceConfigError, Tools
from tests.contract.feed_server import NOW
from tests.contract.source_bench import BenchClock, Driver, Log, tools
from tests.kafka_topic import Topic, make_topic

FIELDS = {"title": "headline", "text": "body.plain", "published": "meta.ts", "publisher": "outlet"}


@pytest_asyncio.fixture
async def given(clock: BenchClock) -> AsyncIterator[Tools]:
    jail = Jail()  # never asked: no process is started
    async with tools(clock, jail) as made:
        yield made


@pytest.fixture
def topic(kafka: str) -> Topic:
    name = f"articles-{uuid.uuid4().hex[:8]}"
    make_topic(kafka, name)
    return Topic(kafka, name)


def options(topic: Topic, **changes: Any) -> dict[str, Any]:
    brokers = tuple(topic.address.split(","))
    plain = {"name": "house", "brokers": brokers, "topic": topic.name, "fields": FIELDS, "start": "earliest"}
    return plain | changes


def driver(topic: Topic, given: Tools, clock: BenchClock, log: Log | None = None, **changes: Any) -> Driver:
    return Driver(registry.build("kafka", options(topic, **changes), given), clock, log or Log())


async def until(one: Driver, titles: int) -> None:
    for _ in range(10):
        await one.poll()
        if len(one.log.titles) >= titles:
            return
    raise AssertionError(f"{one.log.titles}, not {titles}: {one.source.status}")


def article(title: str, **changes: Any) -> dict[str, Any]:
    return {"headline": title, "body": {"plain": "Words."}, "meta": {"ts": NOW - 5.0}, "outlet": "Quay Post"} | changes


async def test_times_are_taken_as_their_value_shows(topic: Topic, given: Tools, clock: BenchClock) -> None:
    times = {
        "iso": "2026-09-21T14:00:00Z",
        "offset": "2026-09-21T16:00:00+02:00",
        "naive": "2026-09-21T22:00:00",
        "seconds": 1_790_000_000 - 1_790_000_000 % 3600,
        "milliseconds": (1_790_000_000 - 1_790_000_000 % 3600) * 1_000,
        "digits": str(1_790_000_000 - 1_790_000_000 % 3600),
    }
    topic.write(*(article(name, meta={"ts": value}) for name, value in times.items()))
    one = driver(topic, given, clock, timezone="Asia/Shanghai")
    await until(one, len(times))
    found = {document.title: document.published for document in one.log.documents}
    hour = found["seconds"]
    assert found == dict.fromkeys(times, hour) | {
        "iso": "2026-09-21T14:00:00.000Z",
        "offset": "2026-09-21T14:00:00.000Z",
        "naive": "2026-09-21T14:00:00.000Z",
    }
    assert {document.publisher for document in one.log.documents} == {"Quay Post"}
    await one.stop()


async def test_records_that_do_not_fit_are_named_and_counted_and_the_rest_goes_in(
    topic: Topic, given: Tools, clock: BenchClock
) -> None:
    bad = [
        b"no JSON",
        b"\xff\xfe\x00",
        [1, 2],
        article("", body={"plain": ""}),
        article("x", meta={"ts": "the day before"}),
        article("x", meta={"ts": 1e30}),
        article("x", headline={"en": "x"}),
        None,
        b"[" * 200_000,
        b'{"headline": "\\ud800"}',
    ]
    records: list[Any] = [article("first")]
    for one in bad:
        records += [one]
    topic.write(*records, article("last"))
    one = driver(topic, given, clock)
    await until(one, 2)
    assert sorted(one.log.titles) == ["first", "last"]
    assert len(one.errors) == len(bad)
    for number, error in enumerate(one.errors, 1):
        assert f"{topic.name}[0] offset {number}: " in error.reason, error
        assert "correct fields (title = headline" in error.reason
        assert error.line == number
    assert "neither title nor text" in one.errors[3].reason
    assert "'the day before'" in one.errors[4].reason
    assert one.errors[0].raw == b"no JSON"
    await one.stop()


async def test_a_mapping_that_fits_nothing_is_said_in_health(topic: Topic, given: Tools, clock: BenchClock) -> None:
    topic.write(*(article(f"number {n}") for n in range(3)))
    one = driver(topic, given, clock, fields={"title": "head.line"})
    for _ in range(4):
        await one.poll()
    assert "title = head.line" in (one.source.status.reason or "")
    topic.write({"head": {"line": "This one fits"}})
    await until(one, 1)
    assert one.source.status.reason is None
    await one.stop()


async def test_a_record_without_id_and_date_has_its_place_and_the_time_it_was_written(
    topic: Topic, given: Tools, clock: BenchClock
) -> None:
    written = NOW - 1_200.0
    topic.write({"headline": "Same words"}, {"headline": "Same words"}, at=written)
    log = Log()
    one = driver(topic, given, clock, log)
    await until(one, 2)
    assert len({document.id for document in log.documents}) == 2
    assert {document.published for document in log.documents} == {"2026-09-21T13:53:20.000Z"}
    assert {document.at for document in log.documents} == {"2026-09-21T13:53:20.000Z"}, "history counts from its date"
    await one.stop()
    log.cursor = None  # the place is lost: the same records come again and are the same documents
    again = driver(topic, given, clock, log)
    await again.polls(3)
    assert again.handed == 2
    assert len(log.documents) == 2
    await again.stop()


async def test_a_first_start_begins_with_what_comes_and_a_restart_where_it_was(
    topic: Topic, given: Tools, clock: BenchClock
) -> None:
    topic.write(article("before"))
    log = Log()
    one = driver(topic, given, clock, log, start="latest")
    await one.poll()
    await one.stop()
    topic.write(article("while nobody reads"))
    again = driver(topic, given, clock, log, start="latest")
    await until(again, 1)
    assert log.titles == ["while nobody reads"]
    await again.stop()
    other = Topic(topic.address, f"other-{uuid.uuid4().hex[:8]}")
    make_topic(other.address, other.name)
    other.write(article("another topic"))
    moved = driver(other, given, clock, log)
    await until(moved, 2)
    await moved.stop()


async def test_a_partition_that_is_added_is_read_from_its_beginning(
    topic: Topic, given: Tools, clock: BenchClock
) -> None:
    one = driver(topic, given, clock, start="latest")
    await one.poll()
    topic.widen(3)
    for number in range(3):
        await asyncio.to_thread(_patiently, topic, article(f"in {number}"), number)
    await until(one, 3)
    assert sorted(one.log.titles) == ["in 0", "in 1", "in 2"]
    await one.stop()


def _patiently(topic: Topic, record: Any, partition: int) -> None:
    """Writes to a partition that the brokers may still be about to make."""
    for attempt in range(20):
        try:
            topic.write(record, partition=partition)
            return
        except AssertionError:  # the client knows of no such partition yet
            if attempt == 19:
                raise


async def test_what_a_transaction_takes_back_is_not_read(topic: Topic, given: Tools, clock: BenchClock) -> None:
    topic.transact(article("taken back"), article("this too"), commit=False)
    topic.transact(article("meant"), commit=True)
    one = driver(topic, given, clock)
    await until(one, 1)
    assert one.log.titles == ["meant"]
    assert one.source.status.reason is None
    await one.stop()


async def test_records_that_retention_removed_are_told_as_a_gap(topic: Topic, given: Tools, clock: BenchClock) -> None:
    log = Log()
    topic.write(article("read"))
    one = driver(topic, given, clock, log)
    await until(one, 1)
    await one.stop()
    topic.write(*(article(f"lost {n}") for n in range(5)), article("kept"))
    topic.remove(0, 6)
    labels = {"source": "house"}
    before = REGISTRY.get_sample_value("tapewatch_source_gone_total", labels) or 0.0
    again = driver(topic, given, clock, log)
    await until(again, 2)
    assert log.titles == ["read", "kept"]
    status = again.source.status
    assert status.state == "up"
    assert f"{topic.name}[0]: offsets 1 to 5 were removed unread" in (status.reason or "")
    assert (REGISTRY.get_sample_value("tapewatch_source_gone_total", labels) or 0.0) - before == 5
    await clock.advance(3_601.0)
    assert again.source.status.reason is None
    await again.stop()


async def test_records_that_are_removed_under_the_reader_are_told_too(
    topic: Topic, given: Tools, clock: BenchClock
) -> None:
    topic.write(*(article(f"number {n}") for n in range(3)))
    one = driver(topic, given, clock)
    await until(one, 3)
    topic.write(*(article(f"lost {n}") for n in range(4)))
    topic.remove(0, 7)
    topic.write(article("after"))
    await until(one, 4)
    assert one.log.titles[-1] == "after"
    await one.stop()


async def test_a_topic_made_anew_is_read_from_its_beginning(topic: Topic, given: Tools, clock: BenchClock) -> None:
    log = Log()
    topic.write(*(article(f"old {n}", id=f"o{n}") for n in range(5)))
    fields = FIELDS | {"id": "id"}
    one = driver(topic, given, clock, log, fields=fields)
    await until(one, 5)
    topic.delete()
    await one.polls(3)
    assert "not there" in (one.source.status.reason or "") or "can't be read" in (one.source.status.reason or "")
    await asyncio.to_thread(make_topic, topic.address, topic.name)
    topic.write(article("new", id="n"))
    await until(one, 6)
    assert one.log.titles[-1] == "new"
    assert "made anew" in (one.source.status.reason or "")
    await one.stop()


async def test_a_missing_topic_is_waited_for_and_never_made(kafka: str, given: Tools, clock: BenchClock) -> None:
    absent = Topic(kafka, f"absent-{uuid.uuid4().hex[:8]}")
    one = driver(absent, given, clock)
    await one.polls(3)
    status = one.source.status
    assert status.state == "down"
    assert absent.name in (status.reason or "") and "create it" in (status.reason or "")
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    assert absent.name not in admin.list_topics()
    admin.close()
    await asyncio.to_thread(make_topic, kafka, absent.name)
    absent.write(article("at last"))
    await until(one, 1)
    await one.poll()
    assert one.source.status.state == "up"
    await one.stop()


async def test_the_place_is_shown_under_a_group_and_what_others_make_of_that_counts_for_nothing(
    topic: Topic, given: Tools, clock: BenchClock
) -> None:
    topic.write(*(article(f"number {n}") for n in range(4)))
    group, log = f"show-{topic.name}", Log()
    one = driver(topic, given, clock, log, group=group)
    await until(one, 4)
    admin = KafkaAdminClient(bootstrap_servers=topic.address)
    for _ in range(20):  # a new broker's coordinator takes its time
        await clock.advance(6.0)
        await one.polls(2)
        if shown := admin.list_group_offsets({group: None})[group]:
            break
    assert {(tp.partition, at.offset) for tp, at in shown.items()} == {(0, 4)}
    admin.alter_group_offsets(group, {tp: type(at)(0, "", -1) for tp, at in shown.items()})
    admin.close()
    await one.stop()
    again = driver(topic, given, clock, log, group=group)
    await again.polls(2)
    assert again.handed == 0
    await again.stop()


async def test_certificates_and_sign_in_that_can_not_work_are_named(
    topic: Topic, given: Tools, clock: BenchClock, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    one = driver(topic, given, clock, tls=True, ca_file=str(tmp_path / "ca.pem"))
    await one.poll()
    assert "ca.pem" in (one.source.status.reason or "")
    await one.stop()
    with pytest.raises(SourceConfigError, match=r"house.*gssapi"):
        registry.build("kafka", options(topic, sasl="GSSAPI"), given)
    with pytest.raises(SourceConfigError, match=r"house.*fields"):
        registry.build("kafka", options(topic, fields={"headline": "title"}), given)

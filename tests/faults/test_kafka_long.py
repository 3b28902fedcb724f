"""Faults on a real Kafka that take their time: `make faults` runs them, not `make test`.

Connections that are never answered again, a model that needs longer for a batch than a worker's session lasts, an
outage beyond the producer's delivery time-out, machines whose clocks are an hour off.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer
from prometheus_client import REGISTRY

from pipelines.streams.base import DOCUMENTS, EngineError, Output, Record, State
from pipelines.streams.kafka import publisher, watchdog
from tests.conftest import need_kafka
from tests.contract.engine_bench import PARTITIONS, Counting, KafkaBench, Seen
from tests.daemon_bench import ACME, BAD_NEWS, Daemon, Receiver, wait_for
from tests.kafka_cluster import Cluster
from tests.kafka_fleet import Fleet
from tests.kafka_load import OUTAGE, PATIENCE, Count, Load, Workers, compare, grow, under_load
from tests.kafka_proxy import Proxy

SESSION = 10.0
"""Seconds without a heartbeat after which a worker's partitions are given away."""
GIVEN_UP = 30.0
"""Seconds for which a worker waits for an answer."""
HOUR = 3_600
ROWS = 80_000
"""Of each partition's tables that are to take long to restore: some 9,000 a second."""

pytestmark = [
    pytest.mark.long,
    # kafka-python leaves the sockets of failed connections to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def sockets() -> Iterator[None]:
    """Collects what kafka-python leaves within the test that it belongs to."""
    yield
    gc.collect()


async def test_half_open_connections_are_given_up(tmp_path: Path, counted: Count) -> None:
    need_kafka()
    with Proxy() as proxy:
        cluster = Cluster(tmp_path / "kafka", extra={"advertised.listeners": f"PLAINTEXT://{proxy.address}"})
        proxy.target = cluster.nodes[0].port
        with cluster:
            bench = KafkaBench(tmp_path, proxy.address, [Counting()])
            async with under_load(bench, tmp_path, counted, GIVEN_UP + PATIENCE) as (load, workers):
                await workers.join()
                await grow(load, 300)
                proxy.mute()
                await asyncio.sleep(OUTAGE)
                proxy.answer()
                begun = time.monotonic()
                await grow(load, 300)
                back = round(time.monotonic() - begun, 1)
            workers_back = round(time.monotonic() - begun, 1)
            counted(
                "half-open connections",
                seconds=OUTAGE,
                bytes_swallowed=proxy.swallowed,
                connections_never_answered=proxy.taken,
                slowest_append=round(load.slowest, 1),
                back_after=back,
                workers_back_after=workers_back,
            )
    assert load.slowest > OUTAGE * 0.8, "nobody felt it"


class Slow(Counting):
    """Holds each unit for longer than a session while it is told to."""

    def __init__(self) -> None:
        self.slow = False
        self.held = 0

    def handle(self, batch: Sequence[Record], state: State) -> list[Output]:
        if self.slow:
            time.sleep(SESSION * 1.3)
            self.held += 1
        return super().handle(batch, state)


async def test_a_model_slower_than_the_session_keeps_its_partitions(
    own_kafka: Cluster, tmp_path: Path, counted: Count
) -> None:
    stage = Slow()
    bench = KafkaBench(tmp_path, own_kafka.address, [stage])
    await bench.start(lambda: [stage])
    load, workers = Load(bench.engine), Workers(bench, tmp_path)
    running = asyncio.create_task(load.run())
    lag, partitions = 0.0, set()
    try:
        await grow(load, 300)
        stage.slow = True
        until = time.monotonic() + SESSION * 3
        while time.monotonic() < until:
            await asyncio.sleep(0.2)
            lag = max(lag, bench.engine.lag()["counting"][0])
            partitions.add(REGISTRY.get_sample_value("tapewatch_stage_partitions", {"stage": "counting"}))
        stage.slow = False
        load.ended.set()
        await asyncio.wait_for(running, PATIENCE)
        await compare(bench, load, workers, counted)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await bench.stop()
    counted("units slower than the session", held=stage.held, seconds_each=SESSION * 1.3, lag_seen=round(lag, 1))
    assert partitions == {3.0}, "a slow unit lost its worker the partitions"
    assert lag > SESSION


async def test_an_outage_beyond_the_delivery_timeout_ends_the_process_not_the_records(
    own_kafka: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: Count
) -> None:
    # An hour is too long for a test; kafka-python takes no less than its request time-out of 30 s.
    monkeypatch.setattr(publisher, "DELIVERY_TIMEOUT", 32.0)
    monkeypatch.setattr(watchdog, "WATCHDOG", 25.6)
    bench = KafkaBench(tmp_path, own_kafka.address, [Counting()])
    await bench.start(list)
    load = Load(bench.engine)
    running = asyncio.create_task(load.run())
    await grow(load, 300)
    own_kafka.nodes[0].signal(signal.SIGKILL)
    begun = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE):
            while bench.engine.fatal is None:
                await asyncio.sleep(0.1)
        ended = time.monotonic() - begun
        assert isinstance(bench.engine.fatal, EngineError) and "no record was acknowledged" in str(bench.engine.fatal)
        await asyncio.sleep(max(0.0, 34.0 - ended))  # beyond the producer's own time
        gone = time.monotonic() - begun
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await bench.stop()  # the process ends
    await asyncio.to_thread(own_kafka.start)

    # A new one takes what nobody was told of, and what is new.
    async with under_load(bench, tmp_path, counted) as (again, workers):
        await workers.join()
        await grow(again, 300)
    log = {int(record.value) for record in await bench.records(DOCUMENTS)}
    assert set(load.acknowledged) <= log
    counted(
        "broker gone beyond the delivery time-out",
        seconds=round(gone, 1),
        process_ended_after=round(ended, 1),
        acknowledged_before=len(load.acknowledged),
        after=len(again.acknowledged),
    )


async def test_tables_that_take_longer_to_restore_than_a_stall_are_waited_for(
    own_kafka: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: Count
) -> None:
    """What a survivor takes over may be large: it must not end itself for standing still meanwhile."""
    monkeypatch.setattr(watchdog, "STALL", 8.0)
    bench = KafkaBench(tmp_path, own_kafka.address, [Counting()])
    await bench.start(lambda: [Counting()])
    load, workers = Load(bench.engine), Workers(bench, tmp_path)
    running = asyncio.create_task(load.run())
    try:
        await workers.join()
        await grow(load, 300)
        kept = _partitions(bench)
        workers.kill()
        rows = await asyncio.to_thread(_fill, bench, set(range(PARTITIONS)) - kept)
        begun = time.monotonic()
        async with asyncio.timeout(PATIENCE * 2):
            while len(_partitions(bench)) < PARTITIONS:
                assert bench.engine.fatal is None, bench.engine.fatal
                await asyncio.sleep(0.1)
        took = time.monotonic() - begun
        load.ended.set()
        await asyncio.wait_for(running, PATIENCE)
        await compare(bench, load, workers, counted)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        workers.kill()
        await bench.stop()
    counted("tables restored for long", stall=watchdog.STALL, rows=rows, seconds=round(took, 1))
    assert took > SESSION + watchdog.STALL, "it was no longer than a stall"


def _partitions(bench: KafkaBench) -> set[int]:
    return set(bench.engine._workers["counting"].partitions)


def _fill(bench: KafkaBench, partitions: set[int]) -> int:
    """Writes many rows to the tables of partitions that nobody has now."""
    producer = KafkaProducer(bootstrap_servers=bench.address, compression_type="lz4", linger_ms=50, batch_size=1 << 18)
    row = msgspec.msgpack.encode(Seen())
    try:
        for number in range(ROWS):
            for partition in partitions:
                key = f"seen\0filler{number}".encode()
                producer.send(bench.layout.changelog("counting"), key=key, value=row, partition=partition)
        producer.flush(timeout=PATIENCE)
    finally:
        producer.close()
    return ROWS * len(partitions)


def shifted(folder: Path, seconds: int) -> dict[str, str]:
    """The environment of a Python whose clock is ``seconds`` ahead."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(f"import time\nreal = time.time\ntime.time = lambda: real() + {seconds}\n")
    return {"PYTHONPATH": str(folder)}


def test_machines_an_hour_off_count_and_ring_alike(kafka: str, tmp_path: Path, counted: Count) -> None:
    rang: dict[str, set[str]] = {}
    late = 0.0
    skews = {"right": {}, "wrong": {"score": HOUR, "aggregate": -HOUR, "notify": HOUR}}
    for name, skew in skews.items():
        with Receiver() as hooks:
            settings = ACME + hooks.channel("desk", "/desk") + '[detection]\nmin_open = "1s"\n'
            fleet = Fleet(tmp_path / name, kafka, settings)
            for part, seconds in skew.items():
                fleet[part].environment.update(shifted(tmp_path / f"{part}{seconds}", seconds))
            with fleet:
                for part, seconds in skew.items():
                    checked = fleet[part].cli("kafka", "check", environment=fleet[part].environment)
                    assert checked.returncode == 1 and "set them by NTP" in checked.stderr, (part, seconds)
                fleet["ingest"].ring()
                view = fleet["view"]
                wait_for(
                    lambda: len(view.get("documents?limit=100")["documents"]) == len(BAD_NEWS), "documents", PATIENCE
                )
                wait_for(lambda: hooks.at("/desk", "alert.firing"), "alert", PATIENCE)
                fleet["ingest"].push({"id": "fresh", "title": "Acme opens a small museum"})
                wait_for(lambda: view.seen("Acme opens a small museum"), "the fresh document", PATIENCE)
                time.sleep(3.0)
                late += fleet["aggregate"].metric("tapewatch_late_evidence_total")
                rang[name] = {hook.body["data"]["subject"]["key"] for hook in hooks.at("/desk", "alert.firing")}
                resolved = hooks.at("/desk", "alert.resolved")
                assert not resolved, "an hour that never was is taken for quiet"
    counted("clocks an hour off", processes=len(skews["wrong"]), rang=len(rang["wrong"]))
    assert rang["wrong"] == rang["right"] and late == 0


def test_a_frozen_notifier_and_the_one_that_waits_deliver_once(kafka: str, tmp_path: Path, counted: Count) -> None:
    with Receiver() as hooks:
        settings = ACME + hooks.channel("desk", "/desk") + '[detection]\nmin_open = "1s"\n'
        with Fleet(tmp_path, kafka, settings, parts=("ingest,score,aggregate,view", "notify")) as fleet:
            first, second = fleet["notify"], fleet.daemon("second", "notify")
            fleet.daemons["second"] = second
            second.start(ready=False)
            wait_for(lambda: second.log_file.exists() and second.logged("partitions"), "a second notifier", PATIENCE)
            wait_for(lambda: sum(map(_holds, (first, second))) == 1, "one that holds the partition", PATIENCE)
            holder = first if _holds(first) else second
            holder.send(signal.SIGSTOP)
            begun = time.monotonic()
            fleet["ingest,score,aggregate,view"].ring()
            wait_for(lambda: hooks.at("/desk", "alert.firing"), "alert", PATIENCE)
            after = time.monotonic() - begun
            time.sleep(max(0.0, SESSION * 1.8 - after))
            holder.send(signal.SIGCONT)
            assert holder.process is not None and holder.process.wait(timeout=PATIENCE) == 1
            assert "stage notify went on in another process" in holder.log()
            other = second if holder is first else first
            if other.process is not None and other.process.poll() is not None:
                other.start()  # the partition was given back to the one that was frozen: a supervisor starts both
            events = [json.loads(record.value)["id"] for record in fleet.records("alerts")]
            wait_for(lambda: {hook.id for hook in hooks.at("/desk")} == set(events), "every alert", PATIENCE)
            assert len({(hook.id, hook.raw) for hook in hooks.at("/desk")}) == len(set(events))
    hooked = len(hooks.hooks)
    counted("notifier frozen", freezes=1, first_alert_after=round(after, 1), events=len(set(events)), webhooks=hooked)


def _holds(daemon: Daemon) -> bool:
    return daemon.metric("tapewatch_stage_partitions", stage="notify") == 1

"""Faults of brokers and workers under load, on a real Kafka. Afterwards the workers' state must be the log: every
record applied once, in its order; and each fault must have been felt."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.clock import SystemClock
from pipelines.streams.base import EngineError, Unwritable
from pipelines.streams.kafka import Connection, KafkaEngine, Layout
from tests.conftest import need_kafka
from tests.contract.engine_bench import Counting, KafkaBench, make_topics
from tests.daemon_bench import ACME
from tests.kafka_cluster import Cluster
from tests.kafka_fleet import Fleet
from tests.kafka_load import OUTAGE, PATIENCE, Count, grow, under_load

pytestmark = pytest.mark.filterwarnings(
    # kafka-python leaves the sockets of failed connections to the garbage collector.
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def sockets() -> Iterator[None]:
    """Collects what kafka-python leaves within the test that it belongs to."""
    yield
    gc.collect()


@pytest.fixture
def bench(own_kafka: Cluster, tmp_path: Path) -> KafkaBench:
    return KafkaBench(tmp_path, own_kafka.address, [Counting()])


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_broker_gone_or_hung_delays_and_loses_nothing(
    fault: signal.Signals, own_kafka: Cluster, bench: KafkaBench, tmp_path: Path, counted: Count
) -> None:
    node = own_kafka.nodes[0]
    async with under_load(bench, tmp_path, counted) as (load, workers):
        await workers.join()
        await grow(load, 300)
        node.signal(fault)
        begun = time.monotonic()
        while time.monotonic() - begun < OUTAGE or bench.engine.waiting_for() is None:
            await asyncio.sleep(0.1)
            assert time.monotonic() - begun < PATIENCE
        gone = time.monotonic() - begun
        with pytest.raises(Unwritable):
            bench.engine.admit()
        before = len(load.acknowledged)
        if fault is signal.SIGKILL:
            await asyncio.to_thread(own_kafka.start)
        else:
            node.signal(signal.SIGCONT)
        await grow(load, 300)
        back = round(time.monotonic() - begun - gone, 1)
        async with asyncio.timeout(PATIENCE):
            while bench.engine.waiting_for() is not None:
                await asyncio.sleep(0.1)
        assert load.slowest > OUTAGE * 0.8, "the broker's absence was not felt"
        assert before < len(load.acknowledged)
        counted(f"broker {fault.name}", seconds=round(gone), slowest_append=round(load.slowest, 1), back_after=back)


async def test_workers_join_and_leave_every_two_seconds(bench: KafkaBench, tmp_path: Path, counted: Count) -> None:
    async with under_load(bench, tmp_path, counted) as (_, workers):
        await workers.join()
        for _ in range(5):
            await workers.join()
            await asyncio.sleep(2.0)
            assert await workers.leave(workers.running[0]) == 0
            await asyncio.sleep(2.0)
        counted("workers", joined=workers.started, left=workers.started - len(workers.running))


async def test_a_frozen_worker_does_not_write_over_its_successor(
    bench: KafkaBench, tmp_path: Path, counted: Count
) -> None:
    async with under_load(bench, tmp_path, counted) as (load, workers):
        first, _ = await workers.join(), await workers.join()
        await grow(load, 300)
        for _ in range(2):
            first.send_signal(signal.SIGSTOP)
            await asyncio.sleep(16.0)  # beyond the session of 10 s: the other has its partitions by now
            first.send_signal(signal.SIGCONT)
            await grow(load, 300)
        counted("worker frozen beyond its session", times=2, acknowledged_meanwhile=len(load.acknowledged))


async def test_a_killed_worker_s_empty_disk_is_filled_again(bench: KafkaBench, tmp_path: Path, counted: Count) -> None:
    async with under_load(bench, tmp_path, counted) as (load, workers):
        await workers.join()
        await grow(load, 500)
        workers.kill()
        await grow(load, 200)
        await workers.join()  # in a folder of its own: nothing of the first one's is there
        await grow(load, 200)
        counted("worker killed, disk empty", kills=1, acknowledged=len(load.acknowledged))


async def test_wrong_partitions_refuse_the_start(kafka: str, tmp_path: Path) -> None:
    bench = KafkaBench(tmp_path, kafka, [Counting()])
    wrong = Layout(topic_prefix=bench.prefix, group_prefix=bench.prefix, partitions=5, replication=1)
    engine = KafkaEngine(Connection(brokers=(kafka,)), wrong, tmp_path / "wrong", clock=SystemClock())
    with pytest.raises(EngineError, match=r"documents has 3 partitions, not 5.*begin anew"):
        await engine.start([Counting()])
    bare = Layout(topic_prefix=bench.prefix + "none.", group_prefix=bench.prefix, partitions=3, replication=1)
    engine = KafkaEngine(Connection(brokers=(kafka,)), bare, tmp_path / "bare", clock=SystemClock())
    with pytest.raises(EngineError, match=r"none.documents is missing: run `tapewatch kafka init`"):
        await engine.start([Counting()])


def test_a_stop_keeps_its_budget_with_brokers_and_without(own_kafka: Cluster, tmp_path: Path, counted: Count) -> None:
    """Faust hangs when it is stopped without a broker: the process ends all the same."""
    for up in (True, False):
        with Fleet(tmp_path / str(up), own_kafka.address, ACME, parts=(), partitions=1) as fleet:
            daemon = fleet.daemon("all", "")
            daemon.config.write_text(daemon.config.read_text().replace("[engine]\n", '[engine]\ndrain = "6s"\n'))
            with daemon:
                daemon.push({"title": "Acme opens a depot"})
                if not up:
                    own_kafka.kill()
                begun = time.monotonic()
                code = daemon.stop(signal.SIGTERM)
                took = time.monotonic() - begun
                assert code == 0 and took < 8.0, daemon.log()[-2000:]
                counted(f"SIGTERM {'with' if up else 'without'} a broker", budget=6, seconds=round(took, 1))


@pytest.fixture
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    need_kafka()
    with Cluster(tmp_path_factory.mktemp("kafka3"), 3) as cluster:
        yield cluster


async def test_one_of_three_brokers_killed_under_load(three: Cluster, tmp_path: Path, counted: Count) -> None:
    bench = KafkaBench(tmp_path, three.address, [Counting()], prefix="three.")
    layout = Layout(topic_prefix="three.", group_prefix="three.", partitions=3, replication=3)
    make_topics(three.address, layout, [Counting()])
    async with under_load(bench, tmp_path, counted) as (load, workers):
        await workers.join()
        await grow(load, 500)
        three.nodes[0].signal(signal.SIGKILL)
        await grow(load, 1_000)
        felt = load.slowest
        with contextlib.suppress(EngineError):
            await asyncio.to_thread(three.start)
        await grow(load, 500)
        counted("one of three brokers killed", kills=1, seconds_without_acknowledgement=round(felt, 1))

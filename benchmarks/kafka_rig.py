"""What benchmarks on Kafka share: a broker and processes on it, what each has used, and how far the work has come."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.streams.base import Output
from pipelines.streams.kafka.connection import Connection
from pipelines.streams.kafka.probe import Probe
from pipelines.streams.kafka.publisher import Publisher
from pipelines.streams.kafka.topics import Layout
from tests.daemon_bench import Daemon, request, wait_for
from tests.kafka_cluster import Cluster
from tests.kafka_fleet import Fleet

PATIENCE = 240.0
"""Seconds without progress after which a run has failed, on a busy machine too: records are lost, or a worker stands
still."""

STAGES = ("score", "aggregate", "notify")

TICKS = os.sysconf("SC_CLK_TCK")

REST = 8.0
"""Seconds for which processes are watched that have nothing to do."""

COUNTED = "tapewatch_counted_evidence_total"

PARTITIONS = 6
"""As many as the settings give by default."""

WATCHED = 0.2
"""Share of the documents that are about a watched company."""

STATE = "aggregate-state"
"""The topic of the aggregate stage's tables."""

EVERY = 0.5
"""Seconds between two looks at a process's metrics, which cost it some milliseconds each."""

Figures = dict[str, Any]


class Stalled(Exception):
    """Work that was given out was never done."""


Looks = Mapping[str, Callable[[], int]]
"""What is counted, and how it is looked up."""


@dataclass(frozen=True)
class Sample:
    """At ``at`` monotonic seconds: how much is ``done``, by what is counted, and CPU seconds by process."""

    at: float
    done: Mapping[str, int]
    cpu: Mapping[str, float]


class Rig:
    """A broker of one node, and on it one fleet of processes with topics of its own.

    ``settings``: what the processes have in common beside the engine. Nothing runs until ``start``.
    """

    def __init__(self, folder: Path, cluster: Cluster, settings: str, partitions: int) -> None:
        self._cluster = cluster
        self.fleet = Fleet(folder, cluster.address, settings, parts=(), partitions=partitions)
        connection = Connection(brokers=tuple(cluster.address.split(",")))
        self.layout = Layout(topic_prefix=self.fleet.prefix, partitions=partitions, replication=1)
        self._connection, self._probe = connection, Probe(connection)

    def begin(self, *parts: str, names: Sequence[str] = ()) -> list[Daemon]:
        """Starts a process for each part, called by ``names`` where several are of one part."""
        begun = {name: self.fleet.daemon(name, part) for name, part in zip(names or parts, parts, strict=True)}
        for daemon in begun.values():
            daemon.start(ready=False)
        self.fleet.daemons.update(begun)
        return list(begun.values())

    def start(self, *parts: str, names: Sequence[str] = ()) -> None:
        """``begin``, and returns when each is ready, and has its share of the partitions where it runs a stage."""
        begun = self.begin(*parts, names=names)
        for daemon in begun:
            wait_for(daemon._is_ready, f"readiness of {daemon.only}", PATIENCE)
            if daemon.only in STAGES:
                share = 1 if daemon.only == "notify" else self.layout.partitions // parts.count(daemon.only)
                held = f'tapewatch_stage_partitions{{stage="{daemon.only}"}}'
                wait_for(lambda one=daemon, all_=share, of=held: metric(one, of) == all_, "its share", PATIENCE)

    def stop(self, name: str) -> None:
        """Lets a process end by itself."""
        code = self.fleet.daemons.pop(name).stop()
        if code:
            raise Stalled(f"{name} ended with {code}")

    async def publish(self, outputs: Iterable[Output]) -> None:
        """Writes records as ingest does; all acknowledged when it returns."""
        publisher = Publisher(self._connection, self.layout)
        await publisher.start()
        await publisher.publish(outputs)
        await publisher.stop(10.0)

    def written(self, topic: str) -> int:
        """Records that a topic has had, watermarks among them."""
        places = [(self.layout.topic(topic), number) for number in range(self.layout.count(topic))]
        return sum(self._probe.ends(places).values())

    def stored(self, topic: str) -> int:
        """Bytes that the broker keeps of one of its topics."""
        folders = self._cluster.folder.glob(f"node*/data/{self.layout.topic(topic)}-*")
        return sum(file.stat().st_size for folder in folders for file in folder.glob("*.log"))

    def close(self) -> None:
        self._probe.close()

    def cpu(self) -> dict[str, float]:
        """CPU seconds by process, this one as "bench"."""
        processes = {name: daemon.process for name, daemon in self.fleet.daemons.items()}
        processes["broker"] = self._cluster.nodes[0].process
        running = {name: one.pid for name, one in processes.items() if one is not None and one.poll() is None}
        found = {name: cpu_of(number) for name, number in running.items()}
        return found | {"bench": cpu_of(os.getpid())}

    def _all_alive(self) -> None:
        for name, daemon in self.fleet.daemons.items():
            if daemon.process is not None and daemon.process.poll() is not None:
                raise Stalled(f"{name} ended: {daemon.log()[-2000:]}")

    def follow(self, looks: Looks, goals: Mapping[str, int], every: float) -> list[Sample]:
        """Looks ``every`` so many seconds until all goals are reached. Raises Stalled."""
        samples: list[Sample] = []
        moved = time.monotonic()
        while True:
            self._all_alive()
            samples.append(self._sample(looks))
            if len(samples) > 1 and samples[-1].done != samples[-2].done:
                moved = time.monotonic()
            if all(samples[-1].done[name] >= goal for name, goal in goals.items()):
                return samples
            if time.monotonic() - moved > PATIENCE:
                raise Stalled(f"nothing moved for {PATIENCE:.0f} s: {samples[-1].done} of {dict(goals)}")
            time.sleep(every)

    def rest(self, looks: Looks, every: float) -> dict[str, float]:
        """CPU seconds a second by process while there is nothing to do, looked at in the same way."""
        samples = [self._sample(looks)]
        while samples[-1].at - samples[0].at < REST:
            time.sleep(every)
            samples.append(self._sample(looks))
        first, last = samples[0], samples[-1]
        return {name: (last.cpu[name] - first.cpu[name]) / (last.at - first.at) for name in first.cpu}

    def _sample(self, looks: Looks) -> Sample:
        return Sample(time.monotonic(), {name: look() for name, look in looks.items()}, self.cpu())


@contextmanager
def rig(settings: str, *, partitions: int) -> Iterator[Rig]:
    """A rig in a folder of its own, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="kafka-bench-"))
    try:
        with Cluster(folder / "broker", heap="768m") as cluster:
            made = Rig(folder / "fleet", cluster, settings, partitions)
            with closing(made), made.fleet:
                yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def metric(daemon: Daemon, series: str) -> int:
    """A counter or gauge of /metrics, by its name with labels as they are printed; 0 before there is one."""
    try:
        text = request(f"{daemon.url}/metrics")[2].decode()
    except OSError:
        return 0  # it does not listen yet
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def cpu_of(process: int) -> float:
    """CPU seconds that a process has used, in all its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_of(daemon: Daemon) -> float:
    """Resident memory of a process in MB."""
    assert daemon.process is not None
    pages = int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def pace(
    samples: Sequence[Sample], what: str, goal: int, *, rest: Mapping[str, float] | None = None, each: float = 1.0
) -> Figures:
    """Documents a second, and CPU microseconds a document by process, from the first sight of ``what`` to its end.

    ``rest``: CPU seconds a second that a process takes anyway, which are no document's. ``each``: documents that one of
    ``what`` stands for.
    """
    first = next(sample for sample in samples if sample.done[what] > 0)
    last = next(sample for sample in samples if sample.done[what] >= goal)
    count, seconds = (last.done[what] - first.done[what]) * each, last.at - first.at
    if not count:
        raise Stalled(f"{goal} {what} were done in one go: give it more")
    used = {name: last.cpu[name] - before for name, before in first.cpu.items() if name in last.cpu}
    work = {name: max(0.0, value - (rest or {}).get(name, 0.0) * seconds) for name, value in used.items()}
    return {
        "per_second": round(count / seconds, 1),
        "cores": round(sum(used.values()) / seconds, 2),
        "microseconds": {name: round(value / count * 1e6) for name, value in work.items()},
    }


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def table(title: str, rows: Sequence[Figures]) -> None:
    """Prints figures that have the same names, a line each."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[str(row.get(name, "")) for name in names] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(names, *cells, strict=True)]
    print(f"\n{title}")
    for line in (names, *cells):
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))

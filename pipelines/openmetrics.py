"""The read model's history as OpenMetrics text with timestamps, in the names and labels that the live gauges have.

``promtool tsdb create-blocks-from openmetrics`` makes blocks of it, so that dashboards show what was there before
Prometheus was. A scrape shows a block as it stands; here its last figures stand over its whole half hour.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import IO

import msgspec
from prometheus_client import Gauge

from pipelines.answers import Answers
from pipelines.documents import SeriesPoint, epoch
from pipelines.gauges import BY_CLASS, FIRING, SCORE, SENTIMENT, THRESHOLD, combined
from pipelines.moods import STEP as MOOD_STEP

STEP = 300.0
"""Seconds between two samples: Prometheus looks back five minutes for a series' last one."""

GAUGES: tuple[Gauge, ...] = (*BY_CLASS, SCORE, THRESHOLD, SENTIMENT, FIRING)


class Written(msgspec.Struct):
    """What was exported: the keys that had something, samples, and the times of the first and the last."""

    keys: set[str] = set()
    samples: int = 0
    first: float | None = None
    last: float | None = None

    def add(self, other: Written) -> None:
        self.keys |= other.keys
        self.samples += other.samples
        self.first = min((one for one in (self.first, other.first) if one is not None), default=None)
        self.last = max((one for one in (self.last, other.last) if one is not None), default=None)


class _Text:
    """The families under construction. A label set's samples must lie together, but a key's classes take turns in
    time: so each family has a file for each class, and they are joined in the end."""

    def __init__(self, folder: Path, labels: Mapping[str, str], stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._fixed = [f'{name}="{_escaped(value)}"' for name, value in labels.items()]
        self._parts: dict[Gauge, dict[str, IO[bytes]]] = {gauge: {} for gauge in GAUGES}
        self._names = {gauge: next(iter(gauge.describe())) for gauge in GAUGES}
        self.written = Written()

    def add(self, gauge: Gauge, labels: Mapping[str, str], samples: Iterator[tuple[float, float]]) -> None:
        """Samples of one label set, as (time, value) in the order of time."""
        part = labels.get("class", "")
        if part not in self._parts[gauge]:
            file: IO[bytes] = self._stack.enter_context(tempfile.TemporaryFile(dir=self._folder))  # noqa: SIM115 (the stack closes it)
            self._parts[gauge][part] = file
        named = ",".join([*(f'{name}="{_escaped(value)}"' for name, value in labels.items()), *self._fixed])
        series = f"{self._names[gauge].name}{{{named}}}"
        file, written = self._parts[gauge][part], self.written
        for at, value in samples:
            file.write(f"{series} {value!r} {at:.3f}\n".encode())
            written.samples += 1
            written.first = at if written.first is None else min(written.first, at)
            written.last = at if written.last is None else max(written.last, at)

    def join(self, out: IO[bytes]) -> None:
        for gauge, parts in self._parts.items():
            family = self._names[gauge]
            out.write(f"# HELP {family.name} {_escaped(family.documentation)}\n# TYPE {family.name} gauge\n".encode())
            for part in parts.values():
                part.seek(0)
                shutil.copyfileobj(part, out, 1 << 20)
        out.write(b"# EOF\n")


def write(
    answers: Answers, keys: Iterable[str], out: IO[bytes], folder: Path, *, since: float, until: float,
    labels: Mapping[str, str],
) -> Written:  # fmt: skip
    """Writes the history of ``keys``, with ``labels`` on every series. Times in seconds since 1970.

    ``folder`` takes as many bytes for a while as ``out`` for good.
    """
    with ExitStack() as stack:
        text = _Text(folder, labels, stack)
        firing = _firing(answers, since, until)
        for key in keys:
            before = text.written.samples
            _blocks(text, key, answers.history(key, since, until), until, answers.scores(key, since))
            moods = answers.mood_history(key, since, until)
            text.add(SENTIMENT, {"key": key}, _spread(moods, MOOD_STEP, until))
            for severity, samples in sorted(firing.get(key, {}).items()):
                text.add(FIRING, {"key": key, "severity": severity}, iter(sorted(samples.items())))
            if text.written.samples > before:
                text.written.keys.add(key)
        text.join(out)
    return text.written


def _blocks(text: _Text, key: str, points: Iterator[SeriesPoint], until: float, scores: dict[str, float]) -> None:
    """``scores``: by class, as they stood before."""
    for start, together in groupby(points, key=lambda point: epoch(point.start)):
        for point in together:
            times = _times(start, epoch(point.end), until)
            scores[point.class_] = point.score
            for gauge, figure in BY_CLASS.items():
                text.add(gauge, {"key": key, "class": point.class_}, ((at, figure(point)) for at in times))
        score, threshold = combined(scores), point.threshold
        text.add(SCORE, {"key": key}, ((at, score) for at in times))
        text.add(THRESHOLD, {"key": key}, ((at, threshold) for at in times))


def _times(start: float, end: float, until: float) -> list[float]:
    """When samples stand for what lasts from ``start`` to ``end``."""
    end = min(end, until)
    return [at for number in range(int(-(-(end - start) // STEP))) if (at := start + number * STEP) < end]


def _spread(steps: list[tuple[float, float]], width: float, until: float) -> Iterator[tuple[float, float]]:
    for start, value in steps:
        yield from ((at, value) for at in _times(start, start + width, until))


def _firing(answers: Answers, since: float, until: float) -> dict[str, dict[str, dict[float, float]]]:
    """Key to severity to samples: 1 while an alert has that severity, 0 when it has it no longer."""
    found: dict[str, dict[str, dict[float, float]]] = {}
    for _, events in groupby(answers.episodes(), key=lambda event: event[0]):
        told = list(events)
        ends = [*(at for *_, at in told[1:]), until]
        for (_, key, kind, severity, at), end in zip(told, ends, strict=True):
            if kind != "alert.resolved":
                samples = found.setdefault(key, {}).setdefault(severity, {})
                samples.update(dict.fromkeys((one for one in _times(at, end, until) if one >= since), 1.0))
                if since <= end < until:
                    samples[end] = 0.0
    return found


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

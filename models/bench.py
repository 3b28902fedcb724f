"""How fast a classifier is: texts a second by kind, and how long one text takes alone."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from itertools import cycle, islice

import msgspec
import numpy as np

from models.classifier import OnnxClassifier
from models.samples import KINDS, samples

TEXTS = 512
"""Texts of one call: what an engine hands over at once behind a backlog."""

ALONE = 100
"""Calls with one text that a percentile needs at least."""


class Figures(msgspec.Struct, frozen=True):
    """What was measured."""

    model: str
    device: str
    threads: int
    """Passes computed at once."""
    texts_per_second: dict[str, float]
    """By kind of text (``models.samples``), in calls of 512 texts."""
    alone_p50_ms: float
    alone_p99_ms: float
    """Of one headline a call."""
    peak_rss_mb: float
    """Of this process, in MiB."""
    gpu_memory_mb: int | None
    """More in use on the GPUs than before the model was loaded, in MiB; None where it is not told."""


def measure(
    classifier: OnnxClassifier,
    seconds: float,
    *,
    gpu_memory: Callable[[], int | None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Figures:
    """Measures each kind for ``seconds``, and one text alone for as long. ``gpu_memory``: asked at the end."""
    rates = {kind: _rate(classifier, samples(kind), seconds, clock) for kind in KINDS}
    middle, late = np.percentile(_alone(classifier, samples("headlines"), seconds, clock), (50, 99))
    return Figures(
        classifier.name,
        classifier.device,
        classifier.threads,
        rates,
        round(float(middle) * 1e3, 2),
        round(float(late) * 1e3, 2),
        round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        gpu_memory(),
    )


def _rate(classifier: OnnxClassifier, texts: list[str], seconds: float, clock: Callable[[], float]) -> float:
    supply = cycle(texts)
    classifier.predict(list(islice(supply, TEXTS)))  # the first call of a shape is slower
    done, started = 0, clock()
    while (taken := clock() - started) < seconds or not done:
        classifier.predict(list(islice(supply, TEXTS)))
        done += TEXTS
    return round(done / taken, 1)


def _alone(classifier: OnnxClassifier, texts: list[str], seconds: float, clock: Callable[[], float]) -> list[float]:
    found: list[float] = []
    started = clock()
    for text in cycle(texts):
        before = clock()
        if len(found) >= ALONE and before - started >= seconds:
            return found
        classifier.predict([text])
        found.append(clock() - before)
    return found

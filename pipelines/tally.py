"""Metrics that count what became durable, not what was tried.

A unit of work that the store refuses is rolled back and done again, for as long as a disk is full; what it counted each
time would be counted many times over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from prometheus_client import Counter, Histogram

_due: ContextVar[list[Callable[[], None]] | None] = ContextVar("due", default=None)


@contextmanager
def once_it_holds() -> Iterator[None]:
    """What is counted inside counts when the block ends, and not at all when it raises."""
    due: list[Callable[[], None]] = []
    token = _due.set(due)
    try:
        yield
    finally:
        _due.reset(token)
    for change in due:
        change()


def inc(counter: Counter, amount: float = 1.0) -> None:
    """Adds to a counter; outside such a block at once."""
    _do(partial(counter.inc, amount))


def observe(histogram: Histogram, value: float) -> None:
    """Puts a value into a histogram; outside such a block at once."""
    _do(partial(histogram.observe, value))


def _do(change: Callable[[], None]) -> None:
    due = _due.get()
    if due is None:
        change()
    else:
        due.append(change)

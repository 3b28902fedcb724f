"""The clients' logs in measure: aiokafka alone writes some 50,000 lines in an outage of 75 seconds."""

from __future__ import annotations

import logging
import time

LOUD = ("aiokafka", "faust", "kafka", "mode")
"""Loggers, with all below them, that repeat themselves while brokers can't be reached."""

PACER = "kafka.net.selector"
"""Logger of kafka-python's that warns of any step of a tenth of a second, as a busy machine has them all the time."""

EVERY = 30.0
"""Seconds in which a message of one kind is written once."""


class Measure(logging.Filter):
    """Lets a message of one kind (its logger and its text before the values) pass once in ``every`` seconds."""

    def __init__(self, every: float = EVERY) -> None:
        super().__init__()
        self._every = every
        self._next: dict[tuple[str, str], float] = {}
        self._kept: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind, now = (record.name, str(record.msg)[:40]), time.monotonic()
        if now < self._next.get(kind, 0.0):
            self._kept[kind] = self._kept.get(kind, 0) + 1
            return False
        if len(self._next) > 1_000:
            self._next.clear()
        self._next[kind] = now + self._every
        # As plain text in one line: arguments and traces hold sockets, which whoever keeps the record would keep open.
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}: {record.exc_info[1]!r}"
        if kept := self._kept.pop(kind, 0):
            text = f"{text} ({kept} more like it before)"
        record.msg, record.args, record.exc_info = text, (), None
        return True


def hush() -> None:
    """Silences the clients: for a command that says itself what came of it."""
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def calm() -> None:
    """Puts every logger of the clients in measure. A filter holds for its own logger alone, so each gets it."""
    measure = Measure()
    for name in [*LOUD, *logging.root.manager.loggerDict]:
        if name.split(".")[0] in LOUD:
            logger = logging.getLogger(name)
            if not any(isinstance(one, Measure) for one in logger.filters):
                logger.addFilter(measure)
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(PACER).setLevel(logging.ERROR)

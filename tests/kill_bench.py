"""A tape with an open silence, an open flash and a burst that holds others, played into the embedded engine by a process
that kills itself: ``python -m tests.kill_bench STORE KILL DELAY``.

It goes on behind what the store's log holds, and dies ``DELAY`` seconds after it wrote bite number ``KILL``, whatever the
stages are at; with -1 it plays to the end.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from alerts.rules import FlashRule, Rules, SilenceRule
from pipelines.clock import ManualClock
from pipelines.streams.base import Output
from pipelines.streams.embedded import EmbeddedEngine
from tests.stream_bench import DAY, HOUR, T0, Tape, bites, report, stages, watermark

RULES = Rules(
    flash=(FlashRule(name="fraud", phrases=("bribery",), cooldown=5 * HOUR),),
    silence=(SilenceRule(name="quiet", budget=5.0),),
)
LOST = T0 + 2.5 * DAY
"""From here on nothing comes of Acme, for nine hours; its source lives."""
END = LOST + DAY
CUT = 5


def log() -> Iterator[tuple[float, Output]]:
    """Posts of Acme and Borealis; four hours into the silence a flash about Cygnus, then Dorado's crisis."""
    tape, rng, told = Tape(3), random.Random(3), []
    for name, source, per_day in (("Acme", "main", 96.0), ("Borealis", "side", 48.0)):
        at = T0
        while (at := at + rng.expovariate(per_day / DAY)) < END:
            if name != "Acme" or not LOST < at < LOST + 9 * HOUR:
                told.append(tape.story(at, source, name, bad=False, social=True))
    flash = tape.story(LOST + 4 * HOUR, "wire", "Cygnus", bad=True)
    flash.title = "Cygnus chief is charged with fraud and bribery"
    crisis = [tape.story(LOST + 4 * HOUR + n * 240.0, "wire", "Dorado", bad=True) for n in range(16)]
    timed = [(one.fetched, 1, one.output()) for one in [*told, flash, *crisis]]
    at = LOST - HOUR
    while (at := at + 300.0) < END:
        timed += [(at, 0, report(source, at, success=at)) for source in ("main", "side", "wire")]
        timed.append((at, 2, watermark(at)))
    timed.append((END + 3 * HOUR, 2, watermark(END + 3 * HOUR)))  # what is let go of by the hour, is
    return ((at, output) for at, _, output in sorted(timed, key=lambda one: one[:2]))


def written(store: Path) -> int:
    """How many of the tape's records the log holds."""
    if not store.exists():
        return 0
    with closing(sqlite3.connect(store)) as db:
        return sum(
            db.execute(f"SELECT count(*) FROM {topic}").fetchone()[0] for topic in ("log_documents", "log_sources")
        )


async def play(store: Path, kill: int, delay: float) -> None:
    pieces, done, clock = list(bites(log(), CUT)), written(store), ManualClock(T0)
    passed = 0
    while passed < len(pieces) and done > 0:
        done -= len(pieces[passed])
        clock.set(max(clock.time(), pieces[passed][0][0]))
        passed += 1
    engine = EmbeddedEngine(store, clock=clock, retention=400 * DAY)
    await engine.start(stages(clock, rules=RULES))
    await engine.drained()
    for number, piece in enumerate(pieces[passed:], passed):
        clock.set(max(clock.time(), piece[0][0]))
        await engine.append([output for _, output in piece])
        if number == kill:
            await asyncio.sleep(delay)
            os.kill(os.getpid(), signal.SIGKILL)
        await engine.drained()
    await engine.stop()


if __name__ == "__main__":
    asyncio.run(play(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))

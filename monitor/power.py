"""What would it catch, for the API: tried out by a process of its own, behind all other work, and kept for a day."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence

import msgspec
import structlog

from monitor.app import Daemon
from monitor.settings import Settings
from pipelines.power import Answer, Question, Task
from pipelines.watch import Watch

log = structlog.get_logger(__name__)

FRESH = 86_400.0
"""Seconds for which figures are kept: history grows by a day."""

TRY_AGAIN = 60.0
"""Seconds for which it is remembered that a computation failed."""

TOGETHER = 16
"""Keys that one process computes: it reads the whole history first, and the first answers should not wait long."""

WAITING = 256
"""Keys that may wait."""

DEADLINE = 900.0
"""Seconds that a computation may take at most."""

RETRY_AFTER = 5
"""Seconds after which it is worth asking again."""


class Busy(Exception):
    """As many keys wait as may."""


class Kept(msgspec.Struct, frozen=True):
    """What was found for a key. ``failed``: why nothing was."""

    computed: float
    configuration: str
    answers: list[Answer]
    failed: str | None = None


class Desk:
    """Takes questions and has them answered, one process at a time."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._kept: dict[str, Kept] = {}
        self._waiting: dict[str, None] = {}
        """Keys in the order in which they were asked about; those under way among them."""
        self._work: asyncio.Task[None] | None = None

    def answer(self, key: str) -> Kept | None:
        """What is known of a watched key under the settings as they are; None while that is computed. Raises Busy."""
        kept = self._kept.get(key)
        if kept is not None and self._holds(kept):
            return kept
        if key not in self._waiting:
            if len(self._waiting) >= WAITING:
                raise Busy
            self._waiting[key] = None
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._through(), name="power")
        return None

    async def close(self) -> None:
        """Ends what is under way."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    def _holds(self, kept: Kept) -> bool:
        age = self._daemon.now() - kept.computed
        same = kept.configuration == self._configuration()
        return same and age < (FRESH if kept.failed is None else TRY_AGAIN)

    def _configuration(self) -> str:
        return self._daemon.settings.sha256()[:12]

    async def _through(self) -> None:
        while self._waiting:
            keys, configuration = list(self._waiting)[:TOGETHER], self._configuration()
            answers, failed = await self._compute(keys)
            now = self._daemon.now()
            for key in keys:
                mine = [answer for answer in answers if answer.key == key]
                self._kept[key] = Kept(now, configuration, mine, failed)
                del self._waiting[key]
            self._kept = {key: kept for key, kept in self._kept.items() if self._holds(kept)}

    async def _compute(self, keys: Sequence[str]) -> tuple[list[Answer], str | None]:
        daemon = self._daemon
        task = Task(str(daemon.read_model.path), question_of(daemon.settings, daemon.parts.watch, keys))
        try:
            async with asyncio.timeout(DEADLINE):
                return await _in_a_process(task), None
        except (TimeoutError, OSError, ValueError) as error:
            failed = str(error) or f"it took more than {DEADLINE:.0f} s"
            log.warning("power_failed", action="try_later", keys=keys, error=failed)
            return [], failed


async def _in_a_process(task: Task) -> list[Answer]:
    """Raises ValueError where the process ends without an answer."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from pipelines.power import serve; serve()",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")},
             "PYTHONPATH": os.pathsep.join(place for place in sys.path if place), "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,
    )  # fmt: skip
    try:
        found, wrong = await process.communicate(msgspec.json.encode(task))
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        last = wrong.decode(errors="replace").strip().splitlines()[-1:] or [f"ended with {process.returncode}"]
        raise ValueError(last[0])
    return msgspec.json.decode(found, type=list[Answer])


def question_of(settings: Settings, watch: Watch, keys: Sequence[str]) -> Question:
    """What the settings ask of ``keys``."""
    detection = settings.detection
    return Question(
        keys=tuple(keys),
        watched=tuple(sorted(watch.keys)),
        budget=detection.false_alarms_per_key_month,
        budgets={key: one.budget for key, one in watch.keys.items() if one.budget is not None},
        calendars={key: one.calendar for key, one in watch.keys.items() if one.calendar is not None},
        min_open=detection.min_open,
        lateness=detection.lateness,
    )

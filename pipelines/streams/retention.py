"""What the embedded engine's log lets go of, in small bites, so that no batch waits long for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pipelines.commands import NOTE, without_note
from pipelines.documents import iso
from pipelines.streams.base import COMMANDS, DEAD_LETTERS, TOPICS
from pipelines.streams.store import Store

KEPT = (COMMANDS, DEAD_LETTERS)
"""Topics that retention leaves alone, an operator's business: what was commanded, and what awaits a retry, but for
dead letters and the notes of verdicts where there is a bound for texts."""

RENEW = 3_600.0
"""Seconds between two times that a small file is written anew, where there is a bound for texts."""


class Retention:
    """Records are kept for ``records`` seconds, dead letters and notes for ``texts``, for ever if None.

    ``run`` awaits what is done on the store's thread; ``past`` says there up to where every reader of a topic is.
    """

    def __init__(
        self,
        store: Store,
        run: Callable[..., Awaitable[Any]],
        past: Callable[[str], int],
        *,
        records: float,
        texts: float | None,
    ) -> None:
        self._store = store
        self._run = run
        self._past = past
        self._records = records
        self._texts = texts
        self._renewed = 0.0

    async def sweep(self, now: float) -> None:
        """Drops what is too old ``now``, from the write-ahead log as well. Raises Unwritable."""
        await self.drop(now - self._records)
        if self._texts is not None:
            await self._drop(DEAD_LETTERS, now - self._texts)
            await self._run(self._forget_notes, now - self._texts)
        whole = self._texts is not None and now - self._renewed >= RENEW
        self._renewed = now if whole else self._renewed
        await self._run(self._store.empty_wal, whole)

    async def drop(self, before: float) -> int:
        """Drops what was written before ``before`` and every reader is past; returns how many records."""
        dropped = 0
        for topic in TOPICS:
            if topic not in KEPT:
                dropped += await self._drop(topic, before)
        await self._run(self._store.release_pages)
        return dropped

    async def _drop(self, topic: str, before: float) -> int:
        dropped = 0
        while count := await self._run(self._bite, topic, before):
            dropped += count
        return dropped

    def _bite(self, topic: str, before: float) -> int:
        return self._store.trim(topic, before, self._past(topic))

    def _forget_notes(self, before: float) -> None:
        limit = iso(before)
        with self._store.transaction():
            self._store.rewrite(
                COMMANDS, lambda record: without_note(record.value, lambda command: command.at < limit), NOTE
            )

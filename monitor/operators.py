"""What operators ask for and are shown: silences, deliveries, dead letters, verdicts."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from alerts.rules import Silence
from alerts.verdicts import Verdict
from pipelines.clock import Clock
from pipelines.commands import feedback
from pipelines.documents import Command, DeadLetter, decode, encode, iso
from pipelines.streams.base import COMMANDS, Engine, Output
from pipelines.view import ReadModel


class Operators:
    """Lists come from the read model, orders go to the log. ``configured``: the silences of the settings in force."""

    def __init__(
        self,
        engine: Engine,
        read_model: ReadModel,
        configured: Callable[[], Sequence[Silence]],
        *,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._read_model = read_model
        self._configured = configured
        self._clock = clock

    async def command(self, kind: Any, subject: str, details: dict[str, Any] | None = None) -> str:
        """Writes an operator's command; durable when it returns."""
        await self._engine.append([self._output(kind, subject, details)])
        return subject

    async def judge(self, verdict: Verdict) -> None:
        """Writes a verdict; durable when it returns."""
        await self._engine.append([Output(COMMANDS, verdict.alert, encode(feedback(verdict)))])

    def _output(self, kind: Any, subject: str, details: dict[str, Any] | None = None) -> Output:
        command = Command(kind=kind, at=iso(self._clock.time()), subject=subject, details=details or {})
        return Output(COMMANDS, subject, encode(command))

    async def add_silence(self, match: dict[str, Any], expires: float, author: str, comment: str) -> str:
        """Returns its id."""
        details = {"match": match, "expires": expires, "author": author, "comment": comment}
        return await self.command("silence", secrets.token_hex(6), details)

    def is_configured(self, silence: str) -> bool:
        """Whether a silence stands in the settings, and so is not an operator's to end."""
        return silence in {one.id for one in self._configured()}

    async def silences(self) -> list[dict[str, Any]]:
        made = await asyncio.to_thread(self._read_model.silences)
        now = self._clock.time()
        found = [*(msgspec.to_builtins(one) for one in self._configured()), *made]
        return [{**one, "state": "active" if one["expires"] > now else "over"} for one in found]

    async def delivery(self, name: str) -> str | None:
        """The state of a delivery, None where there is none."""
        return await asyncio.to_thread(self._read_model.delivery, name)

    async def retry_dead_letter(self, number: int, by: str = "") -> bool:
        """Writes a dead letter's bytes to its topic again and lets go of it; False where there is none."""
        found = await asyncio.to_thread(self._read_model.dead_letter, number)
        if found is None:
            return False
        letter = decode(DeadLetter, found)
        again = Output(letter.topic, letter.id, letter.payload)
        await self._engine.append([again, self._output("retry_dead_letter", str(number), {"by": by})])
        return True

"""Which model an installation uses, and which it used before: every choice with its time, in the registry.

The latest word counts. A choice made by ``models use`` or ``rollback`` stands, over restarts too, for as long as the
settings name the model that they named then; once they name another, that is the latest word.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from models.registry import Registry, RegistryError, give, locked, synced

FILE = "history.json"

KEPT = 1_000
"""Choices that are kept: more than anybody rolls back."""


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One choice. ``at``: ISO 8601, UTC."""

    at: str
    model: str
    """What finds it again: ``Version.reference``."""
    version: str
    digest: str
    configured: str
    """``[model] name`` as it was then."""
    by: Literal["settings", "use", "rollback"]


class _File(msgspec.Struct, frozen=True):
    uses: tuple[Use, ...]
    schema: int = 1


def standing(uses: Sequence[Use], configured: str) -> Use | None:
    """The choice that stands while the settings name ``configured``; None where they decide themselves."""
    return uses[-1] if uses and uses[-1].configured == configured else None


def in_turn(uses: Sequence[Use]) -> list[Use]:
    """What was in use in turn, without what was rolled back from: the last is in use."""
    turns: list[Use] = []
    for use in uses:
        if use.by == "rollback":
            while turns and turns[-1].model != use.model:
                turns.pop()
        if turns and turns[-1].model == use.model:
            turns.pop()
        turns.append(use)
    return turns


def before(uses: Sequence[Use], model: str, there: Callable[[str], bool]) -> Use | None:
    """What a rollback from ``model`` leads to: the latest of another that is still ``there``."""
    turns = in_turn(uses)
    earlier = turns[:-1] if turns and turns[-1].model == model else turns
    return next((use for use in reversed(earlier) if use.model != model and there(use.model)), None)


class History:
    """The file that keeps the choices; without a registry there are none."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def path(self) -> Path:
        return self._registry.folder / FILE

    def read(self) -> tuple[Use, ...]:
        """The oldest first. Raises RegistryError."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=_File).uses
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise RegistryError(f"{self.path}: can't be read: {error.strerror}") from None
        except msgspec.DecodeError as error:
            raise RegistryError(
                f"{self.path}: can't be read ({error}); move it away, and [model] name says again which model is used"
            ) from None

    def add(self, use: Use, now: Use | None = None) -> None:
        """Writes a choice down; durable when it returns. ``now``: what is in use until then, which is written first if
        it is not there yet. Raises RegistryError."""
        with self._registry.changing(), locked(self._registry.folder):
            uses = [*self.read()]
            if now is not None and (not uses or uses[-1].model != now.model):
                uses.append(now)
            self._write(_File((*uses, use)[-KEPT:]))

    def _write(self, file: _File) -> None:
        fresh = self.path.with_name(f".history-{secrets.token_hex(6)}")
        try:
            fresh.write_bytes(msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")
            give(fresh)
            synced(fresh)
            fresh.rename(self.path)
        finally:
            fresh.unlink(missing_ok=True)
        synced(self._registry.folder)

"""Why nothing can be written to the embedded engine's store, for as long as that lasts."""

from __future__ import annotations

import structlog

from pipelines.streams.base import StoreFull, Unwritable

log = structlog.get_logger(__name__)


class Refusals:
    """Why the last write failed, by who wrote: a stage, or ``""`` for what comes from outside them."""

    def __init__(self) -> None:
        self._why: dict[str, Unwritable] = {}

    def note(self, by: str, error: Unwritable) -> None:
        """A write failed; the log hears of it once."""
        if all(type(known) is not type(error) for known in self._why.values()):
            log.error("store_full" if isinstance(error, StoreFull) else "store_fails", action="wait", error=str(error))
        self._why[by] = error

    def over(self, by: str) -> None:
        """A write succeeded."""
        self._why.pop(by, None)

    def told(self) -> str | None:
        """Why, in words for an operator; None when all is well."""
        why = next(iter(self._why.values()), None)
        if isinstance(why, StoreFull):
            return "the disk is full: nothing is accepted, work resumes when there is room"
        return None if why is None else f"the store can't be written: nothing is accepted meanwhile ({why})"

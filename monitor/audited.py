"""Taking over settings and models, with a record of who had it done."""

from __future__ import annotations

from typing import Any

import structlog

from monitor.app import Daemon
from pipelines.documents import Command, encode, iso
from pipelines.streams.base import COMMANDS, Output, Unwritable

log = structlog.get_logger(__name__)


async def reload(daemon: Daemon, *, by: str = "") -> list[str]:
    """``Daemon.reload``, recorded. Raises as that does."""
    before = daemon.settings.sha256()[:12]
    changed = await daemon.reload()
    after = daemon.settings.sha256()[:12]
    await _record(daemon, "reload", after, {"by": by, "before": before, "changed": changed})
    return changed


async def use(daemon: Daemon, reference: str | None, *, by: str = "") -> str:
    """``Daemon.use``, recorded. Raises as that does."""
    before = await daemon.use(reference)
    await _record(daemon, "use_model", daemon.model.name, {"by": by, "before": before})
    return before


async def _record(daemon: Daemon, kind: Any, subject: str, details: dict[str, Any]) -> None:
    command = Command(kind=kind, at=iso(daemon.now()), subject=subject, details=details)
    try:
        await daemon.engine.append([Output(COMMANDS, subject, encode(command))])
    except Unwritable as error:  # it is done already, and can't be undone for want of a record
        log.warning("audit_lost", action="go_on", what=kind, subject=subject, error=str(error))

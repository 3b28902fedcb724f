"""What an operator's command means, where more than one reader of the commands must agree on it."""

from __future__ import annotations

import msgspec

from alerts.rules import Matcher, Silence
from pipelines.documents import Command, RecordError, epoch

OVER_KEPT = 28 * 86_400.0
"""Seconds for which what is over is kept, and a silence still listed, after its end."""


def silence_of(command: Command) -> Silence:
    """The silence that a ``silence`` command makes. Raises RecordError: its details are an operator's free input."""
    details = command.details
    try:
        return Silence(
            id=command.subject,
            match=msgspec.convert(details.get("match", {}), Matcher),
            created=epoch(command.at),
            expires=float(details["expires"]),
            author=str(details.get("author", "")),
            comment=str(details.get("comment", "")),
        )
    except (msgspec.ValidationError, KeyError, ValueError, TypeError) as error:
        raise RecordError(f"{type(error).__name__}: {error}") from error


def ended(silence: Silence, at: float) -> Silence:
    """The silence after an ``expire_silence`` command of ``at``, seconds since 1970."""
    return msgspec.structs.replace(silence, expires=min(silence.expires, at))

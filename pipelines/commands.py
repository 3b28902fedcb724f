"""What an operator's command means, where more than one reader of the commands must agree on it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from alerts.rules import Matcher, Silence
from alerts.verdicts import Verdict
from pipelines.documents import Command, RecordError, decode, encode, epoch

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


def feedback(verdict: Verdict) -> Command:
    """The command that gives a verdict. Without a note it has no field of that name."""
    details = msgspec.to_builtins(verdict)
    del details["alert"], details["at"]
    if not verdict.note:
        del details["note"]
    return Command(kind="feedback", at=verdict.at, subject=verdict.alert, details=details)


def verdict_of(command: Command) -> Verdict:
    """The verdict that a ``feedback`` command gives. Raises RecordError."""
    try:
        return msgspec.convert({**command.details, "alert": command.subject, "at": command.at}, Verdict)
    except msgspec.ValidationError as error:
        raise RecordError(str(error)) from error


NOTE = b'"note":"'
"""What the bytes of a command hold that gives a note."""


def without_note(value: bytes, gone: Callable[[Command], bool]) -> bytes:
    """A command's bytes, with its note let go of where ``gone`` says so. What is no command stays as it is."""
    try:
        command = decode(Command, value)
    except RecordError:
        return value
    if command.kind != "feedback" or not command.details.get("note") or not gone(command):
        return value
    return encode(msgspec.structs.replace(command, details={**command.details, "note": None}))

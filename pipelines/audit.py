"""The audit log: who silenced, judged, retried, reloaded, and what that changed; of the commands in the log."""

from __future__ import annotations

import sqlite3
from hashlib import blake2s
from typing import Any

import msgspec

from pipelines.commands import silence_of, verdict_of
from pipelines.documents import Command, decode, encode, iso

KEEP = 100_000
"""Entries; of more the oldest go first. The read model's file has them for longer than the log its commands."""
NOBODY = "operator"
"""Who it was where nobody said so."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that somebody had done. ``before``, ``after``: what it was of ``subject``, None for nothing."""

    at: str
    who: str
    what: str
    """The command's kind."""
    subject: str
    """The id of a silence, alert, delivery or dead letter; the hash of settings; a model's name."""
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


def take(db: sqlite3.Connection, command: Command) -> None:
    """Keeps a command's entry; one that is known stays where it is. To be called before the command has its effect.

    Raises RecordError.
    """
    which = f"{command.kind} {command.at} {command.subject} {command.details.get('id', '')}"
    digest = blake2s(which.encode(errors="replace"), digest_size=16).digest()
    if db.execute("SELECT 1 FROM audit WHERE digest = ?", (digest,)).fetchone() is None:
        row = (digest, encode(_entry(db, command)).decode())
        db.execute("INSERT INTO audit(digest, record) VALUES (?, ?)", row)


def _entry(db: sqlite3.Connection, command: Command) -> Entry:
    details = command.details
    who = str(details.get("author" if command.kind == "silence" else "by") or NOBODY)
    before, after = _change(db, command)
    return Entry(at=command.at, who=who, what=command.kind, subject=command.subject, before=before, after=after)


def _change(db: sqlite3.Connection, command: Command) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    known = command.details.get("before")
    match command.kind:
        case "silence":
            made = silence_of(command)
            return None, {
                "match": msgspec.to_builtins(made.match),
                "expires": iso(made.expires),
                "comment": made.comment,
            }
        case "expire_silence":
            rows = db.execute("SELECT record FROM silences WHERE id = ?", (command.subject,)).fetchall()
            ends = [iso(msgspec.json.decode(record)["expires"]) for (record,) in rows]
            return ({"expires": ends[0]} if ends else None), {"expires": command.at}
        case "feedback":
            sql = "SELECT record FROM verdicts WHERE alert = ? ORDER BY number DESC LIMIT 1"
            rows = db.execute(sql, (command.subject,)).fetchall()
            # No note: it may have to be let go of, and this is kept.
            said = [msgspec.json.decode(record)["verdict"] for (record,) in rows]
            return ({"verdict": said[0]} if said else None), {"verdict": verdict_of(command).verdict}
        case "retry_delivery":
            return ({"state": known} if known else None), {"state": "pending"}
        case "retry_dead_letter":
            return {"state": "waiting"}, {"state": "retried"}
        case "enable_channel":
            return {"state": "disabled"}, {"state": "enabled"}
        case "reload":
            changed = command.details.get("changed", [])
            return {"configuration": known}, {"configuration": command.subject, "changed": changed}
        case "use_model":
            return {"model": known}, {"model": command.subject}


def entry(record: str) -> Entry:
    """An entry as it is kept."""
    return decode(Entry, record.encode())


def trim(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM audit WHERE number <= (SELECT max(number) FROM audit) - ?", (KEEP,))

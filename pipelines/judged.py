"""Verdicts in the read model: every one that was given, in the order of the log."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import msgspec

from alerts.verdicts import Verdict
from pipelines.documents import decode, encode


def take(db: sqlite3.Connection, verdict: Verdict) -> None:
    """Keeps a verdict; one that is known stays where it is."""
    row = (verdict.id, verdict.alert, encode(verdict).decode())
    db.execute("INSERT OR IGNORE INTO verdicts(id, alert, record) VALUES (?, ?, ?)", row)


def forget_notes(db: sqlite3.Connection, gone: Callable[[Verdict], bool]) -> None:
    """Lets go of the notes of verdicts of which ``gone`` says so."""
    for number, record in db.execute("SELECT number, record FROM verdicts").fetchall():
        verdict = decode(Verdict, record.encode())
        if verdict.note and gone(verdict):
            without = encode(msgspec.structs.replace(verdict, note=None)).decode()
            db.execute("UPDATE verdicts SET record = ? WHERE number = ?", (without, number))

"""Whether a SQLite file of ours is sound: looked at when it is opened, remembered where it proves torn while in use.

A large file is not read whole at every start, so that its damage may show only when its page is needed. A mark beside
the file then has the next start read all of it: a daemon that its supervisor starts again would else meet the same
page for ever.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import structlog

from pipelines.streams.base import StoreTorn

log = structlog.get_logger(__name__)

QUICK_CHECK_BYTES = 1 << 30
"""Files larger than this are not read whole at every start: a GB takes a second, and what the disk needs for it."""

MARK = ".torn"
"""What is appended to the name of a file that proved torn; the mark holds what SQLite said."""

BESIDE = ("-wal", "-shm", MARK)
"""What lies beside a file and goes where it goes."""


def is_torn(error: sqlite3.Error) -> bool:
    """Whether it is the file's content that SQLite stumbled over."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def check(db: sqlite3.Connection, path: Path) -> None:
    """Reads a file that has a mark whole, indexes too, however large; another where it is not too large, without them.

    Raises sqlite3.DatabaseError, for which ``is_torn`` holds, where something is wrong with it.
    """
    mark = _beside(path, MARK)
    if marked := mark.exists():
        log.warning("store_check", action="check", path=str(path), bytes=path.stat().st_size, why=mark.read_text())
    elif path.stat().st_size > QUICK_CHECK_BYTES:
        return
    verdict = db.execute("PRAGMA integrity_check(1)" if marked else "PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        torn = sqlite3.DatabaseError(verdict)
        torn.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise torn
    if marked:
        log.warning("store_sound", action="go_on", path=str(path))
        mark.unlink()


@contextlib.contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Whoever uses the file inside: where it proves torn it gets its mark, and StoreTorn is raised."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if not is_torn(error):
            raise
        try:
            _beside(path, MARK).write_text(str(error))
        except OSError as why:  # the next start checks less than it should, and this one still has to end
            log.warning("store_unmarked", action="go_on", path=str(path), why=str(why))
        raise StoreTorn(
            f"{path}: is damaged: {error}; the next start reads all of it and, if so, sets it aside and begins anew"
        ) from error


def aside(path: Path, why: str, now: float) -> Path | None:
    """Renames a database and what lies beside it, so that it can still be opened; None where there is none."""
    path = path.resolve()  # SQLite, too, keeps what is beside it where the file is, not where a link to it is
    target = path.with_name(f"{path.name}.{why}-{int(now)}")
    there = path.exists()
    for suffix in ("", *BESIDE):
        if (part := _beside(path, suffix)).exists():
            part.rename(_beside(target, suffix))
    return target if there else None


def _beside(path: Path, suffix: str) -> Path:
    path = path.resolve()
    return path.with_name(path.name + suffix)

"""Copies of the embedded engine's files: taken while a daemon runs, put back while none does.

A copy is what one reading transaction sees, so that log, state, offsets and outbox belong together; the daemon goes on
writing meanwhile. The read model is copied before the store: it then stands at no place that the copied log has not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import structlog

from pipelines.documents import Time, encode, iso
from pipelines.streams.base import EngineError
from pipelines.streams.soundness import aside
from pipelines.streams.store import Lock, version

log = structlog.get_logger(__name__)

MANIFEST = "backup.json"
SCHEMA = 1
"""Of the manifest."""

PATIENCE = 30.0
"""Seconds to wait for a lock that the daemon holds, which is held for a batch's commit."""


class BackupError(EngineError):
    """A backup can't be taken, or not be put back."""


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a backup."""

    file: str
    bytes: int
    sha256: str
    version: int
    """``PRAGMA user_version``."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``backup.json`` says. ``head``: the offset of the last record in the log."""

    schema: int = SCHEMA
    tapewatch: str
    taken: Time
    head: int
    store: Copy
    view: Copy | None = None


# -- taking -----------------------------------------------------------------------------------------------


def take(store: Path, view: Path, folder: Path, *, tapewatch: str, now: float) -> Manifest:
    """Copies ``store`` and its read model into a new ``folder``, which is there whole or not at all.

    Raises BackupError.
    """
    if folder.exists():
        raise BackupError(f"{folder}: is there already; name a folder that is not")
    if not store.is_file():
        raise BackupError(f"{store}: there is no store to back up; [engine] path says where it is")
    with _new_folder(folder) as partial:
        seen = _view(view, partial)
        kept = _copy(store, partial)
        with closing(_open(partial / kept.file)) as db:
            head = int(db.execute("SELECT offset FROM head").fetchone()[0])
        manifest = Manifest(tapewatch=tapewatch, taken=iso(now), head=head, store=kept, view=seen)
        (partial / MANIFEST).write_bytes(msgspec.json.format(encode(manifest)) + b"\n")
        _flush(partial / MANIFEST)
    return manifest


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder of another name, for its owner alone, that gets its own name when all went well."""
    partial: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        yield partial
        _flush(partial)
        partial.rename(folder)
        _flush(folder.parent)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"{folder}: no backup was taken: {error}") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def _view(view: Path, folder: Path) -> Copy | None:
    """The read model's copy; None where there is none to be had: it can be filled again."""
    if not view.is_file():
        return None
    try:
        return _copy(view, folder)
    except (sqlite3.DatabaseError, BackupError) as error:
        log.warning("view_left_out", action="skip", path=str(view), why=str(error))
        (folder / view.name).unlink(missing_ok=True)
        return None


def _copy(source: Path, folder: Path) -> Copy:
    target = folder / source.name
    with closing(_open(source)) as db:
        # Not a copy page by page: it begins anew with every commit in between, and carries along what was deleted.
        db.execute("VACUUM INTO ?", (str(target),))
    _flush(target)
    version = _checked(target)
    return Copy(file=source.name, bytes=target.stat().st_size, sha256=_digest(target), version=version)


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=PATIENCE)


def _checked(path: Path) -> int:
    """The version of a sound file."""
    with closing(_open(path)) as db:
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise BackupError(f"{path}: is damaged: {verdict}")
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Through to the disk, a file's content or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- putting back -----------------------------------------------------------------------------------------


def restore(folder: Path, store: Path, view: Path, *, now: float) -> tuple[Manifest, list[Path]]:
    """Puts a backup in the place of ``store`` and ``view``; returns what it holds and where the former files are now.

    Raises BackupError, StoreLocked while a daemon runs. What is there is touched only once the backup was found whole.
    """
    manifest, store = read(folder), store.resolve()
    try:
        lock = Lock(store)
        try:
            return manifest, _put_back(folder, manifest, store, view, now)
        finally:
            lock.release()
    except OSError as error:
        raise BackupError(f"{folder}: was not put back: {error}") from error


def read(folder: Path) -> Manifest:
    """What a backup says of itself, each of its files verified. Raises BackupError."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except OSError as error:
        why = f"{error.strerror}; give a folder that `tapewatch backup` wrote"
        raise BackupError(f"{folder / MANIFEST}: {why}") from None
    except msgspec.DecodeError as error:
        raise BackupError(f"{folder / MANIFEST}: {error}") from None
    if manifest.schema > SCHEMA or manifest.store.version > version():
        raise BackupError(f"{folder}: was taken by a newer tapewatch ({manifest.tapewatch}); restore it with that one")
    for copy in (manifest.store, manifest.view):
        if copy is not None and Path(copy.file).name != copy.file:
            raise BackupError(f"{folder / MANIFEST}: {copy.file!r} lies outside the backup's folder")
        if copy is not None:
            _verify(folder / copy.file, copy)
    return manifest


def _verify(path: Path, copy: Copy) -> None:
    try:
        same = not path.is_symlink() and path.stat().st_size == copy.bytes and _digest(path) == copy.sha256
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror}; the backup is not whole, take another") from None
    if not same:
        raise BackupError(f"{path}: is not the file that was backed up (its sha256 differs); take another backup")


def _put_back(folder: Path, manifest: Manifest, store: Path, view: Path, now: float) -> list[Path]:
    pairs = [(manifest.store, store), *([(manifest.view, view)] if manifest.view is not None else [])]
    ready = [(target.with_name(target.name + ".restoring"), target) for _, target in pairs]
    try:
        for (copy, _), (fresh, _) in zip(pairs, ready, strict=True):
            shutil.copyfile(folder / copy.file, fresh)
            _flush(fresh)
        # A read model without its copy goes as well: it tells of a log that is no longer there.
        former = [aside(path, "replaced", now) for path in (store, view)]
        for fresh, target in ready:
            fresh.rename(target)
        _flush(store.parent)
    finally:
        for fresh, _ in ready:
            fresh.unlink(missing_ok=True)
    return [path for path in former if path is not None]

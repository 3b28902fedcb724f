"""The registry of models on disk: the shipped ones, which nobody changes, and what was added beside them.

A folder of ``NAME/VERSION-DIGEST/`` with a model's files each, DIGEST being the beginning of its graph's sha256. A
version is copied beside the others, checked there and moved into its place, so that it is there whole or not at all;
what a process left half-done by its end is cleared away by the next one that changes something.

A model is named by NAME (of several versions the one that was added last), by NAME@VERSION, or by NAME@ and the
beginning of its digest, as records and metrics name it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import msgspec

from models import card as cards
from models import golden
from models.card import CARD, Card, CardError, ModelError
from models.classifier import load

SHORT = 12
"""Digits of a digest in names."""

LEAST = 4
"""Digits of a digest that are enough to be taken for one."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


class RegistryError(ModelError):
    """The registry can't do what it was asked."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A model that may be used. ``added``: seconds since 1970; 0 for one that was not."""

    name: str
    version: str
    digest: str
    folder: Path
    origin: Literal["shipped", "added", "folder"]
    languages: tuple[str, ...] = ()
    added: float = 0.0
    problem: str = ""
    """Why it can't be used, as far as its card tells."""

    @property
    def model(self) -> str:
        """``name@sha256[:12]``, as records and metrics name it."""
        return f"{self.name}@{self.digest[:SHORT]}"

    @property
    def reference(self) -> str:
        """What finds it again whatever is added later. A shipped model keeps its name over upgrades."""
        if self.origin == "folder":
            return str(self.folder.resolve())
        return self.name if self.origin == "shipped" else self.model

    @property
    def tried(self) -> bool:
        """Whether it has golden predictions: a folder of a user's own may have none."""
        return self.origin != "folder" or (self.folder / golden.FILE).is_file()

    def usable(self) -> Version:
        """Itself. Raises CardError where it has a problem."""
        if self.problem:
            raise CardError(self.problem)
        return self


class Registry:
    """The models of ``folder``, which need not exist, and the shipped ones; without a folder these alone."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Raises RegistryError where only shipped models are known."""
        if self._folder is None:
            raise RegistryError("no registry of models: name with -c the settings file whose [model] registry is meant")
        return self._folder

    # -- finding ------------------------------------------------------------------------------------------

    def versions(self) -> list[Version]:
        """All of them: the shipped ones, then those that were added, by name and time. Raises RegistryError."""
        shipped = [_version(cards.WEIGHTS / name, name, "shipped") for name in cards.names()]
        added = [_version(folder, folder.parent.name, "added") for folder in self._folders()]
        return [*shipped, *sorted(added, key=lambda one: (one.name, one.added, one.version))]

    def find(self, reference: str) -> Version:
        """The model that is named; what holds a slash, or is a folder and no name, is a model's folder. Raises
        CardError."""
        if "/" in reference:
            return _version(cards.folder_of(reference), "", "folder").usable()
        name, _, which = reference.partition("@")
        known = self.versions()
        named = [one for one in known if one.name == name and (not which or _is(one, which))]
        if which and len(named) > 1:
            raise CardError(f"{reference!r} is any of {_told(named)}: name one of these")
        if named:
            return max(named, key=lambda one: (one.origin == "shipped", one.added)).usable()
        if not which and Path(reference).is_dir():
            return _version(Path(reference), "", "folder").usable()
        raise CardError(_unknown(reference, known))

    def _folders(self) -> Iterator[Path]:
        if self._folder is None:
            return
        try:
            for name in sorted(self._folder.iterdir()):
                if name.is_dir() and not name.name.startswith("."):
                    yield from sorted(version for version in name.iterdir() if version.is_dir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise RegistryError(f"{self._folder}: the registry of models can't be read: {error.strerror}") from None

    # -- changing -----------------------------------------------------------------------------------------

    def add(self, source: Path, name: str | None = None) -> Version:
        """Copies a model's folder in, under ``name`` if that is given, once its files are what its card says and it
        says here what its golden predictions say. One that is there already is left as it is. Raises ModelError."""
        card = cards.verify(source)
        wanted = name or card.name
        self._admit(source, card, wanted)
        with self.changing(), self._incoming() as folder:
            _copy(source, card, folder, wanted)
            prove(folder)
            target = self.folder / wanted / f"{card.version}-{card.digest()[:SHORT]}"
            with locked(self.folder):
                self._admit(source, card, wanted)
                if not _sound(target):
                    self._place(folder, target)
        return _version(target, wanted, "added")

    def remove(self, version: Version) -> None:
        """Takes an added version out. Whether it is in use is the caller's to know. Raises RegistryError."""
        if version.origin != "added":
            raise RegistryError(f"{version.reference}: is {version.origin}, not added; only what was added is removed")
        with self.changing(), locked(self.folder):
            self._clear()
            gone = self.folder / f".removed-{secrets.token_hex(6)}"
            version.folder.rename(gone)
            synced(version.folder.parent)
            with contextlib.suppress(OSError):  # other versions of its name
                version.folder.parent.rmdir()
            shutil.rmtree(gone)

    def _admit(self, source: Path, card: Card, name: str) -> None:
        """Raises RegistryError for a name or version that can't be had."""
        remedy = "; give it another with --name"
        if not _NAME.fullmatch(name):
            raise RegistryError(
                f"{name!r}: a model's name begins with a letter or digit, and has at most 64 of these, full stops, _ "
                f"and -{remedy}"
            )
        if name in cards.names():
            raise RegistryError(f"{name!r}: is the name of a shipped model{remedy}")
        if not _VERSION.fullmatch(card.version):
            raise RegistryError(
                f"{source / CARD}: version {card.version!r}: begins with a letter or digit, and has at most 64 of "
                "these, full stops, _, - and +"
            )
        for one in self.versions():
            if one.name == name and one.digest == card.digest() and one.version != card.version:
                raise RegistryError(
                    f"{source / CARD}: version {card.version!r} has the graph of {name}@{one.version}, and records "
                    f"would not tell them apart{remedy}"
                )

    @contextlib.contextmanager
    def _incoming(self) -> Iterator[Path]:
        """A folder of this process's own beside the others, that ends with it."""
        folder = self.folder / f".incoming-{secrets.token_hex(6)}"
        with locked(self.folder):
            self._clear()
            folder.mkdir()
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(held, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # moved away, if all went well
            os.close(held)

    def _place(self, folder: Path, target: Path) -> None:
        """Moves a checked folder to where it belongs; what is damaged there goes."""
        if not target.parent.exists():
            target.parent.mkdir()
            give(target.parent)
            synced(self.folder)
        if target.exists():
            target.rename(self.folder / f".removed-{secrets.token_hex(6)}")
        give(folder)
        os.utime(folder / CARD)  # which tells when it was added
        synced(folder)
        folder.rename(target)
        synced(target.parent)
        self._clear()

    def _clear(self) -> None:
        """Clears away what processes left that are no more. The lock is held."""
        for left in self.folder.glob(".history-*"):
            left.unlink()
        for left in [*self.folder.glob(".incoming-*"), *self.folder.glob(".removed-*")]:
            held = os.open(left, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            except BlockingIOError:
                pass  # somebody is at it
            finally:
                os.close(held)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Makes the folder where it is missing, and tells in words what the system refuses."""
        try:
            if not self.folder.exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                give(self.folder)
            yield
        except OSError as error:
            where = "" if error.filename in (None, str(self.folder)) else f" ({error.filename})"
            what = f"{self.folder}: the registry of models can't be changed: {error.strerror or error}{where}"
            remedy = "; do it as the account that the daemon runs as" if isinstance(error, PermissionError) else ""
            raise RegistryError(what + remedy) from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else changes ``folder`` meanwhile. The folder itself is locked: a file for it would be one account's."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _version(folder: Path, name: str, origin: Literal["shipped", "added", "folder"]) -> Version:
    """What a folder's card says; of one that can't be read, what its place says."""
    version, _, digest = folder.name.rpartition("-")
    try:
        card = cards.read(folder)
        digest = card.digest()
        if name and card.name != name:
            raise CardError(
                f"{folder / CARD}: names {card.name!r}, in the place of {name!r}; remove it, and add it anew"
            )
    except (CardError, KeyError, OSError) as error:
        problem = str(error) if isinstance(error, CardError) else f"{folder / CARD}: can't be used: {error!r}"
        return Version(name=name, version=version, digest=digest, folder=folder, origin=origin, problem=problem)
    return Version(
        name=card.name,
        version=card.version,
        digest=digest,
        folder=folder,
        origin=origin,
        languages=card.languages,
        added=(folder / CARD).stat().st_mtime if origin == "added" else 0.0,
    )


def _is(version: Version, which: str) -> bool:
    return version.version == which or (len(which) >= LEAST and version.digest.startswith(which))


def _told(versions: Sequence[Version]) -> str:
    return ", ".join(f"{one.model} (version {one.version})" for one in versions) or "none"


def _unknown(reference: str, known: Sequence[Version]) -> str:
    near = get_close_matches(reference, [one.name for one in known], 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return (
        f"no model {reference!r}: neither a folder, nor a shipped model, nor one that was added{hint} There are: "
        + (_told(known))
    )


def _copy(source: Path, card: Card, folder: Path, name: str) -> None:
    """The files of a model, the card under the name that it shall have, checked where they are now."""
    for file in (*card.files, CARD, golden.FILE):
        if not (source / file).is_file():
            continue  # which the checks will miss
        shutil.copyfile(source / file, folder / file)
        synced(folder / file)
    if name != card.name:
        # As a tree: what a later version's card says besides stays in it.
        tree = msgspec.json.decode((folder / CARD).read_bytes())
        encoded = msgspec.json.encode({**tree, "name": name})
        (folder / CARD).write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")
        synced(folder / CARD)
    cards.verify(folder)


def prove(folder: Path) -> None:
    """Raises ModelError where a model can't be loaded, or says something else than it should."""
    classifier = load(str(folder), device="cpu")
    try:
        golden.check(classifier, folder)
    finally:
        classifier.close()


def _sound(folder: Path) -> bool:
    try:
        cards.verify(folder)
        return (folder / golden.FILE).is_file()
    except CardError:
        return False


def give(path: Path) -> None:
    """What root makes belongs to whom the place belongs to: the daemon, most likely."""
    if os.geteuid() != 0:
        return
    owner = path.parent.stat()
    for one in (path, *(path.iterdir() if path.is_dir() else ())):
        os.chown(one, owner.st_uid, owner.st_gid)


def synced(path: Path) -> None:
    """Durable, when it returns."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

"""What settings need beside themselves: packages, files, devices. `check-config` and every start ask the same here, so
that what the one calls fine the other does not die of."""

from __future__ import annotations

import ssl
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from models import card as cards
from models.session import DeviceError, check_device
from monitor.app import PARTS
from monitor.assembly import Parts, assemble
from monitor.engines import check_engine
from monitor.kafka_settings import KafkaAccess
from monitor.model_choice import choice, others
from monitor.settings import Settings, SettingsError


def check(settings: Settings, only: Collection[str] = PARTS) -> Parts:
    """What the settings mean, once all is there that the parts of ``only`` need. Raises SettingsError, with a line a
    problem: file, key, value and what to do."""
    check_engine(settings)
    problems = [f"{settings.file}: {problem}" for problem in (*_store(settings), *_certificates(settings))]
    problems += [f"{settings.file}: {problem}" for problem in _device(settings, only)]
    if problems:
        raise SettingsError("\n".join(problems))
    try:
        card = cards.verify(choice(settings, time.time()).version.folder)
        for other in others(settings).values():
            cards.verify(other.folder)
    except cards.ModelError as error:
        raise SettingsError(f"{settings.file}: {error}") from None
    return assemble(settings, card.topic.labels, card.risks)


def _store(settings: Settings) -> Iterator[str]:
    kafka = settings.engine.kind == "kafka"
    key, path = ("kafka.data_dir", settings.engine.kafka.data_dir) if kafka else ("path", settings.engine.path)
    try:
        problem = _no_folder(path) if kafka else _no_file(path)
    except PermissionError:
        problem = "this account may not look there; give it the folder, or another place"
    if problem is not None:
        yield f'engine.{key} = "{path}": {problem}'


def _no_folder(path: Path) -> str | None:
    return None if _reachable(path, folder=True) else "a file stands there or above it; give a folder"


def _no_file(path: Path) -> str | None:
    if path.is_dir():
        return f'is a folder; give a file in it, as in "{path / "tapewatch.db"}"'
    return None if _reachable(path, folder=False) else "a file, not a folder, stands above it; give a file in a folder"


def _reachable(path: Path, *, folder: bool) -> bool:
    """Whether nothing but folders lies on the way to it."""
    way = [path, *path.parents] if folder else list(path.parents)
    return all(step.is_dir() for step in way if step.exists())


def _certificates(settings: Settings) -> Iterator[str]:
    """Files of certificates to trust that are missing or hold none."""
    held: list[tuple[str, Path | None]] = [("network.ca_file", settings.network.ca_file)]
    access: list[tuple[str, KafkaAccess]] = [("engine.kafka", settings.engine.kafka)]
    access += [(f"sources #{number} ({one.name})", one) for number, one in enumerate(settings.sources, 1)]
    held += [(f"{where}.ca_file", one.ca_file) for where, one in access]
    for key, path in held:
        if path is None:
            continue
        try:
            ssl.create_default_context(cafile=str(path))
        except FileNotFoundError:
            yield f'{key} = "{path}": not found; give a file of PEM certificates, or leave it out'
        except (ssl.SSLError, OSError) as error:
            why = getattr(error, "reason", None) or error.strerror or str(error)
            yield f'{key} = "{path}": can\'t be read ({why}); give a file of PEM certificates'


def _device(settings: Settings, only: Collection[str]) -> Iterator[str]:
    if "score" not in only:
        return
    try:
        check_device(settings.model.device)
    except DeviceError as error:
        yield f'model.device = "{settings.model.device}": {error}'

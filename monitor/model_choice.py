"""Which model settings and history of choices mean, and which one an operator asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from models.card import CardError
from models.registry import Registry, RegistryError, Version
from models.uses import History, Use, before, standing
from monitor import engines
from monitor.settings import Settings
from pipelines.documents import iso

By = Literal["settings", "use", "rollback"]


class Choice(NamedTuple):
    """A model, and why it is that one."""

    version: Version
    use: Use
    unwritten: bool
    """Whether the history of choices lacks it."""


def choice(settings: Settings, now: float) -> Choice:
    """What settings and history have a process use that starts now. Raises ModelError, which names who says so."""
    registry, configured = engines.registry(settings), settings.model.name
    history = History(registry)
    uses = history.read()
    if (use := standing(uses, configured)) is not None:
        try:
            return Choice(registry.find(use.model), use, unwritten=False)
        except CardError as error:
            raise CardError(
                f"{history.path}: in use since {use.at}: {error}; choose another with: tapewatch models use NAME"
            ) from error
    try:
        version = registry.find(configured)
    except CardError as error:
        raise CardError(f'model.name = "{configured}": {error}') from error
    # What a shipped name means is the package's to say; what one that was added means now shall stay.
    return Choice(version, use_of(version, configured, "settings", now), bool(uses) or version.origin == "added")


def others(settings: Settings) -> dict[str, Version]:
    """By language the models that judge it instead. Raises CardError, which names the setting."""
    registry, found = engines.registry(settings), {}
    for language, reference in settings.model.languages.items():
        try:
            found[language] = registry.find(reference).usable()
        except CardError as error:
            raise CardError(f'model.languages.{language} = "{reference}": {error}') from error
        if language not in (known := found[language].languages):
            raise CardError(
                f'model.languages.{language} = "{reference}": reads {", ".join(known)} only; leave it out, or name a '
                "model that reads this language"
            )
    return found


def use_of(version: Version, configured: str, by: By, now: float) -> Use:
    return Use(
        at=iso(now),
        model=version.reference,
        version=version.version,
        digest=version.digest,
        configured=configured,
        by=by,
    )


def named(settings: Settings, reference: str, now: float) -> Choice:
    """The model that somebody asks for. Raises ModelError."""
    configured = reference == settings.model.name
    version = None if "/" in reference and not configured else engines.registry(settings).find(reference)
    if version is None or (version.origin == "folder" and not configured):
        raise RegistryError(f"{reference}: is a folder; add it first, with: tapewatch models add {reference}")
    return Choice(version, use_of(version, settings.model.name, "use", now), unwritten=True)


def earlier(settings: Settings, model: str, now: float) -> Choice:
    """The model that was in use before ``model``, a reference. Raises ModelError."""
    use = last(settings, model)
    if use is None:
        raise RegistryError(f"nothing to go back to: no other model was in use before {model} that is still there")
    version = engines.registry(settings).find(use.model)
    return Choice(version, use_of(version, settings.model.name, "rollback", now), unwritten=True)


def last(settings: Settings, model: str) -> Use | None:
    """What a rollback from ``model``, a reference, leads to. Raises ModelError."""
    registry = engines.registry(settings)
    return before(History(registry).read(), model, lambda one: _is_there(registry, one))


def _is_there(registry: Registry, reference: str) -> bool:
    try:
        registry.find(reference)
    except CardError:
        return False
    return True


def listed(settings: Settings, use: Use) -> Iterator[dict[str, Any]]:
    """Every model there is: which is in use, which was before, which has a language of its own. Raises ModelError."""
    registry, earlier_use = engines.registry(settings), last(settings, use.model)
    references = [use.model] + ([earlier_use.model] if earlier_use is not None else [])
    folders = [registry.find(one) for one in references if "/" in one and _is_there(registry, one)]
    judging = {
        registry.find(reference).model: language
        for language, reference in settings.model.languages.items()
        if _is_there(registry, reference)
    }
    for one in [*registry.versions(), *folders]:
        yield {
            "model": one.model,
            "name": one.name,
            "version": one.version,
            "digest": one.digest,
            "languages": list(one.languages),
            "origin": one.origin,
            "folder": str(one.folder),
            "added": iso(one.added) if one.added else None,
            "in_use": one.reference == references[0],
            "before": one.reference in references[1:],
            "judges": judging.get(one.model),
            "problem": one.problem or None,
        }

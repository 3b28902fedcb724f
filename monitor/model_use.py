"""The model of a daemon: loaded at the start, and another loaded and tried beside it, taken over between two batches.

Until the other one has its place nothing of this one changes, so that whatever fails leaves it at work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog
from prometheus_client import Gauge

from models import card as cards
from models import golden
from models.classifier import Classifier, OnnxClassifier, load
from models.registry import RegistryError, Version
from models.uses import History, Use
from monitor import engines
from monitor.model_choice import Choice, choice, earlier, last, listed, named, others
from monitor.settings import Settings
from pipelines.clock import Clock
from pipelines.documents import iso

log = structlog.get_logger(__name__)

MODEL = Gauge(
    "tapewatch_model_info",
    "1, with the model, and where it runs: cpu, cuda, or none here.",
    ["model", "device"],
)


class ModelFacts(msgspec.Struct, frozen=True):
    """What is to be known of the model where it isn't loaded. ``name``: ``name@sha256[:12]``; ``device``: where it
    runs, ``none`` where it doesn't."""

    name: str
    topics: tuple[str, ...]
    languages: tuple[str, ...]
    risks: tuple[str, ...] = ()
    """Kinds of adverse events; none without a head for them."""
    device: str = "none"


def facts_of(classifier: Classifier) -> ModelFacts:
    return ModelFacts(
        classifier.name,
        tuple(classifier.topics),
        tuple(classifier.languages),
        tuple(classifier.risks),
        classifier.device,
    )


def facts_on_card(folder: Path) -> ModelFacts:
    """Of the model in a folder, every file verified. Raises ModelError."""
    card = cards.verify(folder)
    return ModelFacts(card.identity(), card.topic.labels, card.languages, card.risks)


class Loaded(NamedTuple):
    """A model that is ready. ``classifier``: None where this process judges nothing; then ``folder`` is the model's."""

    facts: ModelFacts
    classifier: Classifier | None
    folder: Path | None = None


class ModelUse:
    """Which model is in use. ``judges``: whether it is loaded here; ``given`` stands for whatever the settings name."""

    def __init__(self, settings: Settings, *, judges: bool, clock: Clock, given: Classifier | None = None) -> None:
        self._settings = settings
        self._judges = judges
        self._clock = clock
        self._given = given
        self._loaded: Loaded | None = None
        self._use: Use | None = None
        self._before: Use | None = None
        self.others: Mapping[str, Loaded] = {}
        """By language the models that judge it instead; they stay until the end."""

    # -- what there is ------------------------------------------------------------------------------------

    @property
    def loaded(self) -> Loaded:
        """Raises RegistryError before it is."""
        if self._loaded is None:
            raise RegistryError("the model is not loaded yet")
        return self._loaded

    @property
    def use(self) -> Use:
        """Raises RegistryError before there is one."""
        if self._use is None:
            raise RegistryError("no model is in use yet")
        return self._use

    def status(self) -> dict[str, Any]:
        """Since when and by whose word it is in use, and what a rollback leads to."""
        return {
            "version": self.use.version,
            "since": self.use.at,
            "by": self.use.by,
            "configured": self.use.configured,
            "before": self._before.model if self._before is not None else None,
            "languages": {language: other.facts.name for language, other in self.others.items()},
        }

    @property
    def languages(self) -> tuple[str, ...]:
        """Those that are judged here."""
        return tuple(dict.fromkeys((*self.loaded.facts.languages, *self.others)))

    async def listed(self) -> list[dict[str, Any]]:
        """Every model there is. Raises ModelError."""
        return await asyncio.to_thread(lambda: list(listed(self._settings, self.use)))

    # -- the first ----------------------------------------------------------------------------------------

    async def open(self) -> Loaded:
        """Loads what settings and history mean. Raises ModelError."""
        self.others = await asyncio.to_thread(self._load_others)
        if self._given is not None:
            return self._open(self._given)
        first = await asyncio.to_thread(choice, self._settings, self._clock.time())
        loaded = await asyncio.to_thread(self._load, first.version)
        await self.write_down(first)
        self._use = first.use
        await self._look_back()
        self._shown(loaded)
        return loaded

    def _open(self, given: Classifier) -> Loaded:
        facts = facts_of(given)
        name, _, digest = facts.name.partition("@")
        self._use = Use(
            at=iso(self._clock.time()),
            model=name,
            version="",
            digest=digest,
            configured=self._settings.model.name,
            by="settings",
        )
        self._shown(Loaded(facts, given))
        return self.loaded

    # -- another ------------------------------------------------------------------------------------------

    async def configured(self, settings: Settings) -> Choice | None:
        """What fresh settings and the history mean; None if that is in use already. Raises ModelError."""
        if self._given is not None:
            return None
        found = await asyncio.to_thread(choice, settings, self._clock.time())
        same = (found.use.model, found.use.configured) == (self.use.model, self.use.configured)
        return None if same and found.version.model == self.loaded.facts.name else found

    async def named(self, reference: str) -> Choice:
        """What an operator asks for. Raises ModelError."""
        self._changeable()
        return await asyncio.to_thread(named, self._settings, reference, self._clock.time())

    async def earlier(self) -> Choice:
        """What was in use before. Raises ModelError."""
        self._changeable()
        return await asyncio.to_thread(earlier, self._settings, self.use.model, self._clock.time())

    def _changeable(self) -> None:
        if self._given is not None:
            raise RegistryError(f"this daemon was given its model, {self.loaded.facts.name}, and has no other")

    async def prepare(self, chosen: Choice) -> Loaded:
        """The chosen model beside the one in use: verified, loaded, warmed up, and saying what it should. Raises
        ModelError."""
        if chosen.version.model == self.loaded.facts.name:
            return self.loaded
        return await asyncio.to_thread(self._prove, chosen.version)

    async def write_down(self, chosen: Choice) -> None:
        """Makes a choice durable. Raises RegistryError where an operator made it; that the settings' word can't be
        written keeps nobody from following it."""
        if not chosen.unwritten:
            return
        history = History(engines.registry(self._settings))
        try:
            await asyncio.to_thread(history.add, chosen.use, self._use)
        except RegistryError as error:
            if chosen.use.by != "settings":
                raise
            log.warning("model_choice_not_kept", action="go_on", model=chosen.version.model, error=str(error))

    async def taken(self, settings: Settings, chosen: Choice, loaded: Loaded) -> None:
        """Says that the model has its place; lets go of the one before."""
        gone, self._settings, self._use = self.loaded, settings, chosen.use
        await self._look_back()
        self._shown(loaded)
        if loaded is not gone:
            log.info(
                "model_switched", action="switch", model=loaded.facts.name, before=gone.facts.name, by=chosen.use.by
            )
            await self.discard(gone)

    async def discard(self, loaded: Loaded) -> None:
        """Lets go of a model that has no place, or not any more."""
        if loaded is not self.loaded and loaded.classifier is not None:
            await asyncio.to_thread(loaded.classifier.close)

    def close(self) -> None:
        for other in self.others.values():
            if other.classifier is not None:
                other.classifier.close()
        if self._given is None and self._loaded is not None and self._loaded.classifier is not None:
            self._loaded.classifier.close()

    # -- loading ------------------------------------------------------------------------------------------

    def _load(self, version: Version) -> Loaded:
        if not self._judges:
            return Loaded(facts_on_card(version.folder), None, version.folder)
        classifier = self._classifier(version, self._settings.model.device)
        return Loaded(facts_of(classifier), classifier)

    def _load_others(self) -> dict[str, Loaded]:
        loaded: dict[str, Loaded] = {}
        return {
            language: loaded.get(version.model) or loaded.setdefault(version.model, self._load(version))
            for language, version in others(self._settings).items()
        }

    def _prove(self, version: Version) -> Loaded:
        if not self._judges:
            return self._load(version)
        # Where the one in use is: auto would take the CPU, without a refusal, where a GPU has no room for both.
        classifier = self._classifier(version, self.loaded.facts.device)
        try:
            if version.tried:
                golden.check(classifier, version.folder)
        except BaseException:  # whatever it was, its threads may not stay
            classifier.close()
            raise
        return Loaded(facts_of(classifier), classifier)

    def _classifier(self, version: Version, device: str) -> OnnxClassifier:
        model = self._settings.model
        return load(str(version.folder), device=device, threads=model.threads, memory_mb=model.memory_mb)

    def _shown(self, loaded: Loaded) -> None:
        self._loaded = loaded
        MODEL.clear()
        for one in (loaded, *self.others.values()):
            MODEL.labels(one.facts.name, one.facts.device).set(1)

    async def _look_back(self) -> None:
        try:
            self._before = await asyncio.to_thread(last, self._settings, self.use.model)
        except RegistryError as error:  # it is asked for again, and then told, when somebody goes back
            self._before = None
            log.warning("model_history_unreadable", action="go_on", error=str(error))

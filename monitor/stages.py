"""The stages of this process, built from the settings."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import msgspec

from alerts.detector import Detector
from models.card import verify
from models.classifier import Classifier
from monitor.assembly import Parts, alert_context
from monitor.settings import Settings
from pipelines.aggregate import Aggregate
from pipelines.clock import Clock
from pipelines.notify import Notify
from pipelines.score import AHEAD, Score
from pipelines.streams.base import Stage


class ModelFacts(msgspec.Struct, frozen=True):
    """What is to be known of the model where it isn't loaded. ``name``: ``name@sha256[:12]``; ``device``: where it
    runs, ``none`` where it doesn't."""

    name: str
    topics: tuple[str, ...]
    languages: tuple[str, ...]
    device: str = "none"


def facts_of(classifier: Classifier) -> ModelFacts:
    return ModelFacts(classifier.name, tuple(classifier.topics), tuple(classifier.languages), classifier.device)


def facts_on_card(folder: Path) -> ModelFacts:
    """Of the model in a folder, every file verified. Raises ModelError."""
    card = verify(folder)
    return ModelFacts(card.identity(), card.topic.labels, card.languages)


class Stages:
    """Those of ``only``, in the order in which documents pass them. ``classifier`` is needed for the score stage."""

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        model: ModelFacts,
        *,
        classifier: Classifier | None,
        clock: Clock,
        only: Collection[str],
    ) -> None:
        self._score: Score | None = None
        self._aggregate: Aggregate | None = None
        self._notify: Notify | None = None
        self._page = "view" in only
        if classifier is not None and Score.name in only:
            ahead = AHEAD if settings.engine.kind == "kafka" else None
            self._score = Score(classifier, parts.entities, parts.watch, clock=clock, ahead=ahead)
        if Aggregate.name in only:
            detection = settings.detection
            detector = Detector(
                budget=detection.false_alarms_per_key_month, min_open=detection.min_open, lateness=detection.lateness
            )
            sources = [source.name for source in settings.sources]
            self._aggregate = Aggregate(
                detector, parts.watch, clock=clock, model=model.name, sources=sources, quotes=settings.quotes
            )
        if Notify.name in only:
            self._notify = Notify(
                parts.watch,
                context=alert_context(settings, page=self._page),
                routes=parts.routes,
                channels=[channel.name for channel in settings.channels],
                silences=parts.silences,
                resend={entry.name: entry.resends for entry in settings.channels if entry.resends is not None},
                clock=clock,
                texts=settings.retention.texts,
            )

    def all(self) -> list[Stage]:
        return [stage for stage in (self._score, self._aggregate, self._notify) if stage is not None]

    def adopt(self, settings: Settings, parts: Parts) -> None:
        """Takes over what may change while running."""
        if self._score is not None:
            self._score.adopt(parts.entities, parts.watch)
        if self._aggregate is not None:
            self._aggregate.adopt(parts.watch)
        if self._notify is not None:
            self._notify.adopt(parts.watch, alert_context(settings, page=self._page), parts.routes, parts.silences)

"""The stages of this process, built from the settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from threading import Lock
from typing import Any

from alerts.detector import Detector
from models.classifier import Classifier, load
from monitor.assembly import Parts, alert_context
from monitor.model_use import Loaded
from monitor.settings import Settings
from pipelines.aggregate import Aggregate
from pipelines.clock import Clock
from pipelines.explain import Explainer, Opener
from pipelines.notify import Notify
from pipelines.score import AHEAD, Score
from pipelines.streams.base import Stage

STAGES: tuple[Any, ...] = (Score, Aggregate, Notify)
"""Their classes: names, inputs and tables are theirs."""


class Stages:
    """Those of ``only``, in the order in which documents pass them. The score stage needs a model with a classifier.
    ``others``: by language the models that judge it instead.
    """

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        model: Loaded,
        *,
        others: Mapping[str, Loaded],
        clock: Clock,
        only: Collection[str],
    ) -> None:
        self._score: Score | None = None
        self._aggregate: Aggregate | None = None
        self._notify: Notify | None = None
        self._page = "view" in only
        self._others = others
        if model.classifier is not None and Score.name in only:
            ahead = AHEAD if settings.engine.kind == "kafka" else None
            judges = {language: one.classifier for language, one in others.items() if one.classifier is not None}
            self._score = Score(
                model.classifier,
                parts.entities,
                parts.watch,
                clock=clock,
                ahead=ahead,
                others=judges,
                rules=parts.rules.flash,
            )
        if Aggregate.name in only:
            detection = settings.detection
            detector = Detector(
                budget=detection.false_alarms_per_key_month, min_open=detection.min_open, lateness=detection.lateness
            )
            sources = [source.name for source in settings.sources]
            self._aggregate = Aggregate(
                detector,
                parts.watch,
                clock=clock,
                model=_named(model, others),
                sources=sources,
                quotes=settings.quotes,
                rules=parts.rules,
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
                explainer=Explainer(_openers(model, others), within=settings.alerts.explain_within),
            )

    def all(self) -> list[Stage]:
        return [stage for stage in (self._score, self._aggregate, self._notify) if stage is not None]

    def adopt(self, settings: Settings, parts: Parts, model: Loaded) -> None:
        """Takes over what may change while running."""
        if self._score is not None and model.classifier is not None:
            self._score.adopt(parts.entities, parts.watch, model.classifier, parts.rules.flash)
        if self._aggregate is not None:
            self._aggregate.adopt(parts.watch, _named(model, self._others), parts.rules)
        if self._notify is not None:
            self._notify.adopt(parts.watch, alert_context(settings, page=self._page), parts.routes, parts.silences)
            self._notify.explainer.adopt(_openers(model, self._others))


def _openers(model: Loaded, others: Mapping[str, Loaded]) -> dict[str, Opener]:
    """What gives each model that judges."""
    return {one.facts.name: _Opener(one) for one in (model, *others.values())}


class _Opener:
    """Gives a model. Where it isn't loaded it is with the first call, for one thread of a CPU."""

    def __init__(self, one: Loaded) -> None:
        self._classifier = one.classifier
        self._folder = one.folder
        self._loading = Lock()

    def __call__(self) -> Classifier:
        with self._loading:
            if self._classifier is None:
                self._classifier = load(str(self._folder), device="cpu", threads=1)
            return self._classifier


def _named(model: Loaded, others: Mapping[str, Loaded]) -> str:
    """What alerts give as their model: every one that judges."""
    return " + ".join(dict.fromkeys(one.facts.name for one in (model, *others.values())))

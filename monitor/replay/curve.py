"""The same evidence under other budgets: a detector each, beside the one that is replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from alerts.baseline import Shape
from alerts.detector import BLIND, Detector, Step
from alerts.key_state import Item, KeyState
from alerts.resolution import unseen

BUDGETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""False alarms per key and month."""


class Rang(msgspec.Struct, frozen=True):
    """That a key rang. ``at`` in seconds since 1970; ``id``: of the alert that tells it, or of the burst."""

    key: str
    at: float
    id: str


class Curve:
    """Runs a detector for each of ``budgets``, which holds for every key. ``settings``: the detectors' others.

    It is fed with what the replayed detector is fed with, once time has passed for an open episode of that key. What
    is counted is bursts, key by key: before they are merged, hushed or routed, and without other rules' alerts.
    """

    def __init__(self, budgets: Sequence[float], **settings: Any) -> None:
        self.replayed: list[Rang] = []
        """The same of the replayed detector, whose keys may have budgets of their own."""
        self.rang: dict[float, list[Rang]] = {budget: [] for budget in budgets}
        self._beside = [(budget, Detector(budget=budget, **settings), dict[str, KeyState]()) for budget in budgets]

    def observe(self, key: str, since: float, item: Item, shape: Shape, facts: Mapping[str, Any]) -> None:
        """``since``: when the key's exposure began; ``facts``: what else the detector is told."""
        told = {**facts, "budget": None}
        blind = told.get("blind", BLIND)
        for budget, detector, states in self._beside:
            state = states.get(key)
            if state is None:
                state = states[key] = detector.new(since)
            if state.episode is not None:
                detector.advance(key, state, item.at, shape, missing=unseen(state, item.at, blind))
            step = detector.observe(key, state, item, shape, **told)
            self.rang[budget] += bursts(key, step)


def bursts(key: str, step: Step) -> list[Rang]:
    """Those that a step of a key's detector opened."""
    return [Rang(key, event.at, f"{key} {event.opened_by}") for event in step.events if event.kind == "firing"]

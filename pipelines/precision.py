"""What verdicts say of the alerts so far: how many were true, and what another budget would have kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from alerts.verdicts import Verdict, would_ring
from models.evaluate import wilson
from pipelines.answers import Answers

FRACTIONS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
"""Of the largest budget that the judged alerts had: what is asked unless budgets are given."""


def report(answers: Answers, budgets: Sequence[float] = ()) -> dict[str, Any]:
    """Of all alerts (``all``), of each watch-list's, and of those on none (``no_watchlist``; of topics and the market):
    how many are known and judged, precision with its 95 % interval (Wilson 1927), and a row for each budget: what
    would have rung of the judged bursts, and the precision and recall that this had. What other rules ask for does not
    follow this budget: they count in precision alone.

    Recall is relative to what rang and was judged true. Unsure counts as neither.
    """
    verdicts = answers.verdicts()
    lists = {verdict.alert: verdict.figures.watchlists for verdict in verdicts} | answers.watchlists()
    names = sorted({name for of_one in lists.values() for name in of_one})

    def of(wanted: Collection[str]) -> dict[str, Any]:
        return _part([one for one in verdicts if one.alert in wanted], len(wanted), budgets)

    return {
        "all": of(lists),
        "watchlists": {name: of([alert for alert, of_one in lists.items() if name in of_one]) for name in names},
        "no_watchlist": of([alert for alert, of_one in lists.items() if not of_one]),
    }


def _part(verdicts: Sequence[Verdict], known: int, budgets: Sequence[float]) -> dict[str, Any]:
    said = [verdict.verdict for verdict in verdicts]
    true, false = said.count("true"), said.count("false")
    bursts = [verdict for verdict in verdicts if verdict.figures.kind == "burst"]
    largest = max((verdict.figures.budget for verdict in bursts), default=0.0)
    asked = sorted(budgets or {fraction * largest for fraction in FRACTIONS if largest}, reverse=True)
    return {
        "alerts": known,
        "judged": len(verdicts),
        "true": true,
        "false": false,
        "unsure": said.count("unsure"),
        "precision": _share(true, true + false),
        "budgets": [_row(bursts, budget) for budget in asked] if true + false else [],
    }


def _row(verdicts: Sequence[Verdict], budget: float) -> dict[str, Any]:
    true = sum(verdict.verdict == "true" for verdict in verdicts)
    kept = [verdict.verdict for verdict in verdicts if would_ring(verdict.figures, budget)]
    found, wrong = kept.count("true"), kept.count("false")
    return {
        "budget": float(f"{budget:.6g}"),
        "true": found,
        "false": wrong,
        "precision": _share(found, found + wrong),
        "recall": _share(found, true),
        "looser": any(verdict.figures.budget < budget for verdict in verdicts),
    }


def _share(hits: int, n: int) -> dict[str, Any]:
    """A share with its interval; None and all there is where nothing was counted."""
    low, high = wilson(hits, n)
    return {"value": round(hits / n, 4) if n else None, "low": low, "high": high}

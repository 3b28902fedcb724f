"""What a verdict knows of its alert, and what verdicts come to: against the detector itself, and against hand counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alerts.rules import FlashRule, Rules
from alerts.verdicts import Figures, Verdict, figures, would_ring
from pipelines.commands import feedback, verdict_of
from pipelines.documents import Command, decode, encode, iso
from pipelines.precision import report
from pipelines.streams.base import ALERTS, COMMANDS, Record
from pipelines.view import ReadModel
from pipelines.watch import Watch
from tests.stream_bench import DAY, HOUR, T0, Played, Tape, watermark

KEY = "entity:acme"
BUDGETS = (0.05, 0.005, 0.0005, 1e-5, 1e-8, 1e-20)


def burst(stories: int, budget: float) -> list[dict[str, Any]]:
    """The events of the alert on a burst of so many bad stories after twelve calm days."""
    tape = Tape(5)
    told = list(tape.poisson(T0, T0 + 12 * DAY, 4.0, "wire", "Acme", bad=0.05))
    told += [tape.story(T0 + 12 * DAY + n * 60.0, "wire", "Acme", bad=True) for n in range(stories)]
    end = T0 + 12 * DAY + 2 * HOUR
    played = Played(budget=budget).play([*((one.fetched, one.output()) for one in told), (end, watermark(end))])
    return [json.loads(encode(alert)) for alert in played.alerts(KEY) if alert.type.startswith("alert.")]


@pytest.mark.parametrize("stories", [5, 8, 12])
def test_what_is_said_of_another_budget_is_what_the_detector_does_at_it(stories: int) -> None:
    judged = figures(burst(stories, BUDGETS[0]))
    said = [would_ring(judged, budget) for budget in BUDGETS]
    rang = [bool(burst(stories, budget)) for budget in BUDGETS]
    print(f"{stories} stories: score {judged.score}, threshold {judged.threshold}: said {said}, rang {rang}")
    assert said[0] and not said[-1], "no budget made a difference: nothing was tried"
    # Its events tell a peak that is not above the true one: what is said to ring rings.
    assert all(truly for truly, so in zip(rang, said, strict=True) if so)
    assert abs(rang.count(True) - said.count(True)) <= 1


def test_the_figures_are_those_of_the_peak_and_of_all_events() -> None:
    events = burst(12, 0.05)
    peak = max(events, key=lambda event: event["body"]["data"]["unusual"]["score"])["body"]["data"]
    judged = figures(events)
    assert len(events) > 1, "one event alone has no peak among others"
    assert (judged.score, judged.observed) == (peak["unusual"]["score"], peak["unusual"]["observed"])
    assert (judged.key, judged.watchlists, judged.severity) == (KEY, ("mine",), events[-1]["severity"])
    assert events[-1]["type"] == "alert.resolved"
    assert (judged.opened, judged.resolved) == (peak["episode"]["opened"], events[-1]["at"])
    assert figures(events[:-1]).resolved is None
    quoted = {story["id"] for event in events for story in event["body"]["data"]["evidence"]["stories"]}
    assert quoted and set(judged.quoted) >= quoted


def test_alerts_of_other_rules_are_judged_like_bursts() -> None:
    rules = Rules(flash=(FlashRule(name="fraud", phrases=("fraud",), publishers=1, within=HOUR, cooldown=DAY),))
    story = Tape(5).story(T0 + HOUR, "wire", "Acme", bad=True)
    story.title = "Acme ledger hides fraud, say prosecutors"
    marks = [(T0 + n * HOUR, watermark(T0 + n * HOUR)) for n in range(2, 60)]
    played = Played(rules=rules).play([(story.at, story.output()), *marks])
    events = [json.loads(encode(alert)) for alert in played.alerts(KEY)]
    told = figures(events)
    assert (told.rule, told.kind, told.severity) == ("fraud", "flash", events[-1]["severity"])
    assert told.resolved == events[-1]["at"] and told.quoted == (f"{1:032x}",)
    verdict = Verdict(id="v", alert=events[0]["alert"], at=iso(T0), verdict="unsure", note="?", figures=told)
    assert verdict_of(decode(Command, encode(feedback(verdict)))) == verdict


def judged(number: int, said: str, margin: float, *lists: str, budget: float = 0.05, kind: str = "burst") -> Verdict:
    known = Figures(
        key="market", name="Market", class_="news", rule=kind, kind=kind, version="1", severity="error", watchlists=lists,
        since=iso(T0), opened=iso(T0), score=6.0 + margin, threshold=6.0, budget=budget, observed=9.0, expected=1.0,
        expected_low=0.5, expected_high=2.0, ratio=9.0, stories=9, documents=9, publishers=3, share=0.9,
        usual_share=0.1, baseline_span_seconds=1e6, model="m", detector="1", configuration="c",
    )  # fmt: skip
    return Verdict(id=f"v{number}", alert=f"a{number}", at=iso(T0 + number), verdict=said, figures=known)  # type: ignore[arg-type]


def test_precision_and_recall_are_as_counted_by_hand(tmp_path: Path) -> None:
    """Thresholds are ln(1 + 1/B): at .025 it is .67 higher than at .05, at .005 2.26."""
    verdicts = [
        judged(1, "true", 3.0, "banks"),
        judged(2, "true", 1.0, "banks"),
        judged(3, "true", 0.0, "banks", "mine"),
        judged(4, "false", 0.5, "banks"),
        judged(5, "false", 2.4, "mine"),
        judged(6, "unsure", 9.0, "banks"),
        judged(7, "false", 0.8, budget=0.5),
        judged(1, "true", 3.0, "banks"),
        judged(8, "false", 9.0, "flashes", kind="flash"),
    ]
    model = ReadModel(tmp_path / "view", Watch([], ["Earnings"]))
    silent = {"id": "x", "type": "alert.firing", "key": "market", "at": iso(T0), "alert": "a9", "severity": "info"}
    silent |= {"watchlists": ["banks"], "body": {"data": {}}}
    records = [Record(COMMANDS, one.alert, encode(feedback(one)), n) for n, one in enumerate(verdicts)]
    part = silent | {"id": "y", "alert": "a10", "merged_into": "a9"}
    alerts = [Record(ALERTS, "market", json.dumps(one).encode(), n) for n, one in enumerate((silent, part), 99)]
    model.apply([*records, *alerts], "1")
    told = report(model, [0.05, 0.025, 0.005])
    banks, every = told["watchlists"]["banks"], told["all"]
    assert sorted(told["watchlists"]) == ["banks", "flashes", "mine"]
    flashes = told["watchlists"]["flashes"]
    assert (flashes["false"], flashes["precision"]["value"]) == (1, 0.0)
    assert not any(row["true"] + row["false"] for row in flashes["budgets"]), "no budget of bursts moves another rule"
    assert [banks[name] for name in ("alerts", "judged", "true", "false", "unsure")] == [6, 5, 3, 1, 1]
    assert banks["precision"] == {"value": 0.75, "low": 0.3006, "high": 0.9544}
    assert [(row["budget"], row["true"], row["false"]) for row in banks["budgets"]] == [
        (0.05, 3, 1),
        (0.025, 2, 0),
        (0.005, 1, 0),
    ]
    assert [row["recall"]["value"] for row in banks["budgets"]] == [1.0, 0.6667, 0.3333]
    assert [row["precision"]["value"] for row in banks["budgets"]] == [0.75, 1.0, 1.0]
    # The alert whose budget was .5 lies .8 above its own threshold: 1.95 more is too much.
    assert [(row["true"], row["false"]) for row in every["budgets"]] == [(3, 2), (2, 1), (1, 1)]
    assert told["no_watchlist"]["judged"] == 1 and not any(row["looser"] for row in every["budgets"])
    assert [row["looser"] for row in report(model, [0.1])["all"]["budgets"]] == [True]
    assert [row["budget"] for row in report(model)["watchlists"]["mine"]["budgets"]] == [
        0.05, 0.025, 0.01, 0.005, 0.0025, 0.001,
    ]  # fmt: skip
    model.close()


def test_without_verdicts_nothing_is_known(tmp_path: Path) -> None:
    model = ReadModel(tmp_path / "view", Watch([], ["Earnings"]))
    nothing = {"alerts": 0, "judged": 0, "true": 0, "false": 0, "unsure": 0, "budgets": []}
    unknown = nothing | {"precision": {"value": None, "low": 0.0, "high": 1.0}}
    assert report(model) == {"all": unknown, "watchlists": {}, "no_watchlist": unknown}
    model.close()

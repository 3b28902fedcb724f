"""What a replay promises: no look-ahead, the same as the daemon, the log as it came."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from models.classifier import FakeClassifier
from monitor.assembly import Parts, assemble
from monitor.commands import replay as command
from monitor.replay.curve import BUDGETS
from monitor.replay.log import Log
from monitor.replay.player import Fed, Player
from monitor.settings import Settings, SettingsError, load
from pipelines.documents import AlertRecord, Document, decode, epoch
from tests.daemon_bench import BAD_NEWS, request
from tests.inside_bench import inside
from tests.replay_bench import CONFIG, CRISIS, WEEKS, replay, tape
from tests.stream_bench import DAY, HOUR, T0, Tape, Told


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Parts]:
    path = tmp_path_factory.mktemp("replay") / "tapewatch.toml"
    path.write_text(CONFIG)
    found = load(path, {})
    return found, assemble(found, FakeClassifier().topics)


def fed(stories: Iterable[Told]) -> list[Fed]:
    return [decode(Document, story.output().value) for story in stories]


def played(
    configured: tuple[Settings, Parts], feed: Sequence[Fed], *, finish: bool = True, **more: Any
) -> tuple[list[AlertRecord], Player]:
    player = Player(*configured, FakeClassifier(), None, **more)
    alerts = [*player.play(feed)]
    return alerts + ([*player.finish(None)] if finish else []), player


@pytest.fixture(scope="module")
def by_time(configured: tuple[Settings, Parts]) -> tuple[list[Fed], list[AlertRecord]]:
    """The tape in the order of its time, as files are replayed, and its alerts."""
    feed = fed(sorted(tape(), key=lambda one: (one.at, one.number)))
    return feed, played(configured, feed)[0]


@pytest.fixture(scope="module")
def as_it_came(configured: tuple[Settings, Parts]) -> tuple[list[Fed], list[AlertRecord], Player]:
    """The tape as it arrived, as the log is replayed."""
    feed = fed(tape())
    return feed, *played(configured, feed)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_what_comes_after_a_moment_changes_nothing_before_it(
    configured: tuple[Settings, Parts], by_time: tuple[list[Fed], list[AlertRecord]], data: st.DataObject
) -> None:
    feed, whole = by_time
    told = st.sampled_from([epoch(alert.at) for alert in whole])
    near = st.builds(lambda at, off: at + off, told, st.sampled_from([-HOUR, -1.0, 1.0, HOUR]))
    cut = data.draw(st.one_of(near, st.floats(T0 + DAY, T0 + WEEKS * 7 * DAY)))
    before = [alert.body for alert in whole if epoch(alert.at) < cut]
    target(len(before))
    part = played(configured, [one for one in feed if epoch(one.at) < cut])[0]
    assert [alert.body for alert in part if epoch(alert.at) < cut] == before


@settings(max_examples=10, deadline=None, derandomize=True)
@given(share=st.floats(0.1, 0.95))
def test_nor_where_documents_come_late(
    configured: tuple[Settings, Parts], as_it_came: tuple[list[Fed], list[AlertRecord], Player], share: float
) -> None:
    feed, whole, player = as_it_came
    assert player.timeline.late > 10, "otherwise the test proved nothing"
    part = played(configured, feed[: int(len(feed) * share)], finish=False)[0]
    assert [alert.body for alert in part] == [alert.body for alert in whole[: len(part)]]


def test_what_comes_too_late_counts_as_it_does_live(configured: tuple[Settings, Parts]) -> None:
    """A crisis that is told two days after it happened, between the news of then, is no burst any more."""
    made = Tape(8)
    calm = [*made.poisson(T0, T0 + WEEKS * 7 * DAY, 5.0, "wire", "Acme", bad=0.05)]
    crisis = [made.story(CRISIS + n * 0.2 * HOUR, "wire", "Acme", bad=True) for n in range(15)]
    late = [dataclasses.replace(one, fetched=one.at + 2 * DAY) for one in crisis]

    def rang(stories: list[Told]) -> list[str]:
        firing = (a for a in played(configured, fed(sorted(stories)))[0] if a.type == "alert.firing")
        return [a.at for a in firing if a.key == "entity:acme-corp" and CRISIS <= epoch(a.at) < CRISIS + 4 * DAY]

    assert rang(calm + crisis) and not rang(calm + late)


def test_the_curve_is_what_each_budget_gives(configured: tuple[Settings, Parts]) -> None:
    """Detectors beside the replayed one ring as it would with their budget."""
    given, parts = configured
    feed = fed(tape(6))
    curve = played(configured, feed, budgets=BUDGETS)[1].curve
    counts = []
    for budget in (0.05, 0.5, 2.0):
        detection = given.detection.model_copy(update={"false_alarms_per_key_month": budget})
        alone = played((given.model_copy(update={"detection": detection}), parts), feed)[0]
        rang = [(alert.key, epoch(alert.at)) for alert in alone if alert.type == "alert.firing"]
        assert [(one.key, round(one.at, 3)) for one in curve.rang[budget]] == rang
        counts.append(len(rang))
    assert 0 < counts[0] < counts[-1]


async def test_the_log_rings_as_the_daemon_did_and_its_scores_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inside(tmp_path, CONFIG) as one:
        start = one.clock.time() - 20 * DAY
        lines = [{"title": f"Acme opens depot number {n}", "published": start + n * 9_000.0} for n in range(180)]
        bad = [title for title in BAD_NEWS if any(word in title.lower() for word in FakeClassifier.BAD)]
        crisis = [title.replace("Acme", "Borealis") for title in bad]
        lines += [{"title": title, "published": start + 15 * DAY + n} for n, title in enumerate(crisis)]
        history = tmp_path / "history.jsonl"
        history.write_text("".join(json.dumps(line) + "\n" for line in lines))
        await one.daemon.intake.backfill([history])
        await one.ring()
        await one.pass_time(30.0, idle=True)
        listed = await asyncio.to_thread(request, f"{one.web.address}/api/v1/alerts?limit=100&merged=true")
        live = {(alert["alert"], alert["key"]) for alert in json.loads(listed[2])["alerts"]}
        given = load(one.config, {})

        def replayed(*, rescore: bool = False, history: bool = False) -> tuple[list[AlertRecord], int, int]:
            model = FakeClassifier()
            log = Log(given, one.clock.time())
            known = None if rescore else log.scores.known({"": model.name})
            player = Player(given, assemble(given, model.topics), model, None, known=known)
            alerts = [*player.play(log.feed(None, None, history=history)), *player.finish(log.end)]
            assert log.documents == player.counts["scored"] > len(lines)
            log.close()
            return alerts, log.scores.reused, log.documents

        found, reused, documents = await asyncio.to_thread(replayed)
        anew, none, _ = await asyncio.to_thread(lambda: replayed(rescore=True))
        whole = (await asyncio.to_thread(lambda: replayed(history=True)))[0]
        monkeypatch.setattr(command, "load", lambda *_, **__: FakeClassifier())
        with pytest.raises(SettingsError, match=f"all {documents} are after --to"):
            await asyncio.to_thread(replay, tmp_path, end="2020-01-01")
    assert live and {(alert.alert, alert.key) for alert in found} == live
    assert (reused, none) == (documents, 0)
    assert [bytes(alert.body) for alert in found] == [bytes(alert.body) for alert in anew]
    past = [alert for alert in whole if epoch(alert.at) < start + 16 * DAY]
    assert "entity:borealis-corp" in {alert.key for alert in past}, "history rings where it is asked to"


def test_scores_of_another_model_or_of_other_companies_are_not_taken(tmp_path: Path) -> None:
    async def filled() -> Settings:
        async with inside(tmp_path, CONFIG) as one:
            await one.ring()
            await one.push({"title": "Acme and Quillmark settle their lawsuit"})
            await one.pass_time(5.0, idle=True)
            return load(one.config, {})

    given = asyncio.run(filled())
    model = FakeClassifier()
    wider = load(_written(tmp_path / "wider.toml", CONFIG + WIDER, given.engine.path), {})
    for settings_, name, anew in ((given, model.name, 0), (given, "other@1", None), (wider, model.name, 1)):
        log = Log(settings_, 2e9)
        known = log.scores.known({"": name})
        player = Player(settings_, assemble(settings_, model.topics), model, None, known=known)
        list(player.play(log.feed(None, None, history=False)))
        assert player.counts["scored"] == log.documents > 3
        assert log.scores.reused == (0 if anew is None else log.documents - anew)
        log.close()


WIDER = "[[watchlists]]\nname = 'more'\nentities = [{ name = 'Quillmark Ltd', aliases = ['Quillmark'] }]\n"
"""A company that one of the headlines names as well."""


def _written(path: Path, config: str, store: Path) -> Path:
    path.write_text(config + f"[engine]\npath = '{store}'\n")
    return path

"""What a replay promises: no look-ahead, the same bytes again, the log as it came, figures and a report that say so."""

from __future__ import annotations

import asyncio
import dataclasses
import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings, target
from hypothesis import strategies as st

from models.classifier import FakeClassifier
from monitor.assembly import Parts, assemble
from monitor.commands import replay as command
from monitor.replay.curve import BUDGETS, Rang
from monitor.replay.figures import Span, rated
from monitor.replay.labels import Label
from monitor.replay.log import Log
from monitor.replay.player import Fed, Player
from monitor.settings import Settings, SettingsError, load
from pipelines.documents import AlertRecord, Document, decode, epoch
from pipelines.sources.files import FileError
from tests.daemon_bench import ACME, BAD_NEWS, SECRET, Daemon, Receiver, request, wait_for
from tests.inside_bench import inside
from tests.stream_bench import DAY, HOUR, T0, Tape, Told

NAMES = ("Acme", "Borealis")
WEEKS = 5
CONFIG = (
    "[detection]\nfalse_alarms_per_key_month = 0.2\n[[watchlists]]\nname = 'mine'\nentities = ["
    + ", ".join(f"{{ name = '{name} Corp', aliases = ['{name}'] }}" for name in NAMES)
    + "]\n"
)
CRISIS = T0 + 25 * DAY


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Parts]:
    path = tmp_path_factory.mktemp("replay") / "tapewatch.toml"
    path.write_text(CONFIG)
    found = load(path, {})
    return found, assemble(found, FakeClassifier().topics)


def tape(seed: int = 5) -> list[Told]:
    """Two companies for weeks, and a crisis of Acme; in the order of arrival, which of some is days late."""
    made = Tape(seed)
    stories = [one for name in NAMES for one in made.poisson(T0, T0 + WEEKS * 7 * DAY, 5.0, "wire", name)]
    stories += [made.story(CRISIS + n * 0.2 * HOUR, "wire", "Acme", bad=True) for n in range(15)]
    for one in stories:
        if made.rng.random() < 0.1:
            one.fetched = one.at + made.rng.expovariate(1 / DAY)
    return sorted(stories)


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


# -- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With settings, and a model that judges by keywords in the place of whichever they name."""
    (tmp_path / "tapewatch.toml").write_text(CONFIG)
    monkeypatch.setattr(command, "load", lambda *_, **__: FakeClassifier())
    return tmp_path


def documents(folder: Path, stories: Sequence[Told], name: str = "tape.jsonl", zone: str = "Z") -> Path:
    path = folder / name
    with path.open("w") as target:
        for one in stories:
            when = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%dT%H:%M:%S") + zone
            line = {"id": str(one.number), "title": one.title, "published": when, "publisher": f"P{one.number % 5}"}
            line["language"] = "en"  # made of words that are none
            target.write(json.dumps(line) + "\n")
    return path


def labels(folder: Path, *rows: str, columns: str = "entity,onset,what,verdict") -> Path:
    path = folder / "events.csv"
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


def replay(folder: Path, *inputs: Path, out: str = "out", **options: Any) -> dict[str, Any]:
    given = {"start": None, "end": None, "events": None, "budget": None, "class_": None} | options
    command.run_replay(folder / "tapewatch.toml", inputs, out=folder / out, **given)
    found: dict[str, Any] = json.loads((folder / out / "summary.json").read_bytes())
    return found


def day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def test_figures_have_intervals_and_what_is_missed_has_evidence(folder: Path) -> None:
    stories = sorted(tape(), key=lambda one: one.at)
    rows = (
        f"Acme Corp,{datetime.fromtimestamp(CRISIS, UTC).isoformat()},a crisis,",
        f"Borealis,{day(T0 + 29 * DAY)},nobody wrote of it,true",
        f"Borealis,{day(T0 + 15 * DAY)},looked into,false",
        f"Acme,{day(T0 + 18 * DAY)},perhaps,unsure",
        f"Unheard Of,{day(T0 + 12 * DAY)},not watched,",
        f"Acme Corp,{day(T0 - 90 * DAY)},before the tape,",
    )
    summary = replay(folder, documents(folder, stories), events=labels(folder, *rows))
    report = json.loads((folder / "out" / "report.json").read_bytes())
    assert (summary["events_known"], summary["events_counted"], summary["events_found"]) == (4, 2, 1)
    assert summary["recall"] == 0.5 and summary["recall_interval"] == [0.0945, 0.9055]
    states = {event["what"]: event["state"] for event in report["events"]}
    assert states == {
        "a crisis": "found",
        "nobody wrote of it": "missed",
        "not watched": "unwatched",
        "before the tape": "outside",
    }
    missed = next(event for event in report["events"] if event["state"] == "missed")
    assert missed["nearest"]["score"] < missed["nearest"]["threshold"] and missed["stories"]
    assert all("Borealis" in story["headline"] for story in missed["stories"])
    assert 0.0 < summary["delay_days"] < 0.2
    rate, (low, high) = summary["judged_alerts_per_key_month"], summary["judged_alerts_per_key_month_interval"]
    assert low < rate < high and rate == pytest.approx(summary["judged_alerts"] / 2 / summary["months"], rel=0.01)
    counts = [point["judged_bursts"] for point in summary["curve"]]
    assert [point["budget"] for point in summary["curve"]] == list(BUDGETS) and counts == sorted(counts)
    said = " ".join(summary["notes"])
    for words in ("'Unheard Of'", "no watched key", "'Acme Corp'", "outside of the time", "1 events are marked unsure"):
        assert words in said
    unmatched = [alert for alert in report["alerts"] if alert["matches"] is False]
    assert all(alert["stories"] for alert in unmatched)
    acme = next(key for key in report["keys"] if key["key"] == "entity:acme-corp")
    place = report["columns"].index("bad")
    assert sum(row[place] for row in acme["stretches"]) > 15 * 0.8
    assert summary["speed"]["documents_per_second_without_scoring"] >= summary["speed"]["documents_per_second"] > 0


def test_precision_is_told_of_all_alerts_and_of_those_that_labels_speak_of() -> None:
    said = [("acme", 10, True), ("acme", 30, False), ("borealis", 20, False), ("borealis", 40, True)]
    known = [Label(key, T0 + at * DAY, happened=so, keys=frozenset({key})) for key, at, so in said]
    times = [("acme", 10.5), ("acme", 12.9), ("acme", 20), ("acme", 30), ("borealis", 19.1), ("borealis", 23.1)]
    rang = [Rang(key, T0 + at * DAY, f"{key} {at}") for key, at in times]
    told = rated(known, rang, {"acme", "borealis"}, Span(T0, T0 + 50 * DAY, 7 * DAY), told=True)
    assert (told["events_found"], told["judged_alerts"], told["judged_false"]) == (1, 6, 2)
    assert (told["precision_lower_bound"], told["precision_labelled"]) == (round(2 / 6, 4), 0.5)


def test_the_same_files_give_the_same_bytes(folder: Path) -> None:
    path = documents(folder, tape())
    for out in ("one", "two"):
        replay(folder, path, out=out)
    for name in ("alerts.jsonl", "report.json", "report.html"):
        first, second = ((folder / out / name).read_bytes() for out in ("one", "two"))
        assert first == second and len(first) > 1_000


def test_what_was_done_about_the_input_is_told(folder: Path) -> None:
    stories = sorted(tape(), key=lambda one: one.at)
    turned = documents(folder, stories[::-1], zone="")
    notes = " ".join(replay(folder, turned, out="turned")["notes"])
    assert f"{len(stories) - 1} of {len(stories)} documents stand behind later ones" in notes
    assert f"{len(stories)} of {len(stories)} documents have a time without a zone: it was taken for UTC" in notes
    straight = documents(folder, stories, name="straight.jsonl")
    notes = replay(folder, straight, out="straight")["notes"]
    assert len(notes) == 2 and "no model in use reads their language" in notes[1], "some made-up words look foreign"
    assert (folder / "turned" / "alerts.jsonl").read_bytes() == (folder / "straight" / "alerts.jsonl").read_bytes()


def test_baselines_that_begin_empty_are_told_with_a_remedy(folder: Path) -> None:
    path = documents(folder, sorted(tape(), key=lambda one: one.at))
    (told, _) = replay(folder, path)["notes"]
    first = json.loads((folder / "out" / "summary.json").read_bytes())["from"]
    until = datetime.fromtimestamp(epoch(first) + 7 * DAY, UTC).strftime("%Y-%m-%dT%H:%M")
    assert f"baselines begin empty at {first[:16]}Z and learn until {until}Z" in told and "give --from" in told
    assert f"learn until {until}Z" in (folder / "out" / "report.html").read_text()
    later = replay(folder, path, start=day(T0 + 9 * DAY))["notes"]
    assert not [note for note in later if "baselines" in note]


def test_the_command_line_of_an_alert_rings_it_again(tmp_path: Path) -> None:
    """Beside the daemon that sent it, from its log, with its model."""
    with Receiver() as hooks, Daemon(tmp_path / "a daemon", ACME + hooks.channel("desk", "/desk")) as daemon:
        daemon.ring()
        told = wait_for(lambda: hooks.at("/desk", "alert.firing"), "an alert")[0].body
        line = told["data"]["links"]["replay"]
        bin_ = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(  # noqa: S602 (what an analyst would paste)
            line, shell=True, cwd=tmp_path, env={**os.environ, **bin_}, capture_output=True, timeout=120, check=False
        )
    assert done.returncode == 0, done.stderr
    found = [json.loads(one) for one in (next(tmp_path.glob("replay-*")) / "alerts.jsonl").read_text().splitlines()]
    same = [one for one in found if one["data"]["episode"]["id"] == told["data"]["episode"]["id"]]
    assert same and same[0]["type"] == "alert.firing" and same[0]["timestamp"] == told["timestamp"]
    assert b"baselines begin empty at" in done.stderr and b"[engine] retention" in done.stderr


def test_a_history_shorter_than_a_baseline_has_no_rates(folder: Path) -> None:
    stories = [one for one in tape() if one.at < T0 + 3 * DAY]
    events = labels(folder, f"Acme Corp,{day(T0 + DAY)},something,")
    summary = replay(folder, documents(folder, stories), events=events)
    for name in ("recall", "precision_lower_bound", "entity_alerts_per_key_month", "judged_alerts_per_key_month"):
        assert summary[name] is None and summary[f"{name}_interval"] is None
    assert all(point["recall"] is None for point in summary["curve"])
    assert "less than the 7 that a baseline takes" in " ".join(summary["notes"])
    assert "<svg" in (folder / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("rows", "columns", "says"),
    [
        (("Acme Corp,2026-10-01T10:00:00,a crisis,",), None, ("line 2", "no offset", "2026-01-31T12:00:00Z")),
        (("Nobody,2026-10-01,a crisis,",), None, ("none of its 1 events is about a watched key", "'Nobody'")),
        (("Acme Corp,2026-10-01,a crisis,maybe",), None, ("line 2", "'maybe'", "true, false or unsure")),
        (
            ("Merck,2026-10-01,which,",),
            None,
            ("line 2: entity: 'Merck' names several", "MRK (", "MRK.DE (", "id instead"),
        ),
        ((), None, ("holds no event",)),
        ((), " ", ("events.csv: is empty", "onset or onset_date")),
        (("Acme Corp,01/10/2026,a crisis,",), None, ("line 2: onset: '01/10/2026' is neither a day, as 2026-01-31",)),
        (
            ("Acme Corp,2026-10-01,so,true", "Acme,2026-10-01,not so,false"),
            None,
            ("line 3: verdict false, where line 2 says true", "keep the one"),
        ),
        (("Acme Corp,a crisis",), "entity,what", ("'entity, what'", "onset or onset_date")),
    ],
)
def test_events_that_mean_nothing_are_refused(
    folder: Path, rows: tuple[str, ...], columns: str | None, says: tuple[str, ...]
) -> None:
    path = labels(folder, *rows, **({"columns": columns} if columns else {}))
    with pytest.raises(SettingsError) as refused:
        replay(folder, documents(folder, tape()[:50]), events=path)
    assert all(words in str(refused.value) for words in says), refused.value
    assert not (folder / "out").exists()


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", ""), ("a.jsonl", "{no JSON\n"), ("a.csv", ""), ("a", "")])
def test_a_file_without_documents_is_refused_as_one_that_cannot_be_read(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(FileError, match=rf"{name}: .*(is empty|they are empty)"):
        replay(folder, folder / name)


def test_nothing_to_replay_is_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"no documents to replay: all 50 are after --to"):
        replay(folder, documents(folder, tape()[:50]), end="2020-01-01")
    with pytest.raises(SettingsError, match="there is no store yet"):
        replay(folder)


def test_an_event_that_is_given_again_counts_once(folder: Path) -> None:
    onset = datetime.fromtimestamp(CRISIS, UTC).isoformat()
    events = labels(folder, f"Acme Corp,{onset},a crisis,", f"Acme,{onset},the same,")
    summary = replay(folder, documents(folder, tape()), events=events)
    assert (summary["events_known"], summary["events_found"]) == (1, 1)
    assert "1 events are given again" in " ".join(summary["notes"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"start": "2026-10-20", "end": "2026-10-01"}, "--from 2026-10-20: is not before --to 2026-10-01"),
        ({"start": "yesterday"}, "--from: 'yesterday' is neither a day, as 2026-01-31"),
    ],
)
def test_times_that_mean_nothing_are_refused(folder: Path, options: dict[str, str], says: str) -> None:
    with pytest.raises(typer.BadParameter, match=says):
        replay(folder, documents(folder, tape()[:50]), **options)


def test_the_report_lists_every_alert_with_its_evidence(folder: Path) -> None:
    """Also those that an event explains, and those of keys that events don't speak of."""
    events = labels(folder, f"Acme Corp,{datetime.fromtimestamp(CRISIS, UTC).isoformat()},a crisis,")
    replay(folder, documents(folder, tape()), events=events)
    report = json.loads((folder / "out" / "report.json").read_bytes())
    page = (folder / "out" / "report.html").read_text()
    told = [one for one in report["alerts"] if one["sent"]]
    assert told and all(html.escape(one["summary"]) in page.partition("Timelines")[2] for one in told)
    assert page.count("<details>") == len(told)


def test_what_is_interrupted_leaves_the_files_of_the_run_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = documents(folder, tape())
    replay(folder, path)
    before = {one.name: one.read_bytes() for one in (folder / "out").iterdir()}
    assert set(before) == {"alerts.jsonl", "summary.json", "report.html", "report.json"}

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeClassifier, "predict", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replay(folder, documents(folder, tape()[:300]))
    assert {one.name: one.read_bytes() for one in (folder / "out").iterdir()} == before


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "out" / "report.html").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"--out .*out: report\.html in it is a folder"):
        replay(folder, documents(folder, tape()[:50]))


def test_everything_that_is_drawn_can_be_seen(folder: Path) -> None:
    """A line without a style has no colour."""
    replay(folder, documents(folder, tape()))
    page = (folder / "out" / "report.html").read_text()
    style = page.partition("<style>")[2].partition("</style>")[0]
    drawn = {kind for _, kinds in re.findall(r'<(line|polyline|rect) class="([^"]+)"', page) for kind in kinds.split()}
    assert drawn and all(re.search(rf"\.{kind}\b", style) for kind in drawn), drawn


def test_a_terminal_is_told_sentences_and_a_program_json(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = documents(folder, tape())
    events = labels(folder, f"Acme Corp,{datetime.fromtimestamp(CRISIS, UTC).isoformat()},a crisis,")
    replay(folder, path, events=events)
    assert json.loads(capsys.readouterr().out)["alerts"] == 1
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    replay(folder, path, events=events)
    said = capsys.readouterr().out
    assert "1 alerts (burst 1)" in said and "1 of 1 events found (95 %: 0.2" in said, said
    assert said.rstrip().endswith(f"look at {folder / 'out' / 'report.html'}")


CHANNEL = f"[[channels]]\nkind = 'webhook'\nname = 'desk'\nurl = 'https://desk.example/hook'\nsecret = '{SECRET}'\n"


def sent(folder: Path, out: str = "out") -> list[tuple[str, str, str]]:
    """Type, time and key of the bodies that a replay would have sent."""
    lines = [json.loads(line) for line in (folder / out / "alerts.jsonl").read_text().splitlines()]
    return [(one["type"], one["timestamp"], one["data"]["subject"]["key"]) for one in lines]


def of_acme(found: dict[str, Any]) -> dict[str, Any]:
    """The alert about the crisis, of a report."""
    (only,) = (one for one in found["alerts"] if one["key"] == "entity:acme-corp")
    return dict(only)


def test_a_silence_is_judged_at_the_moment_of_each_alert(folder: Path) -> None:
    """The documents between which it ends are handed on at once."""
    path = documents(folder, sorted(tape(), key=lambda one: one.at))
    assert replay(folder, path, out="loud")["alerts"] == 1
    (firing,) = (one for one in sent(folder, "loud") if one[0] == "alert.firing")
    for name, off in (("before", -1.0), ("after", 1.0)):
        until = datetime.fromtimestamp(epoch(firing[1]) + off, UTC).isoformat()
        (folder / "tapewatch.toml").write_text(CONFIG + f"[[silences]]\nkeys = ['*']\nuntil = '{until}'\n")
        replay(folder, path, out=name)
    assert sent(folder, "before") == sent(folder, "loud")
    later = [one for one in sent(folder, "loud") if one != firing and one[0] == "alert.updated"]
    assert firing not in sent(folder, "after")
    hushed = of_acme(json.loads((folder / "after" / "report.json").read_bytes()))
    assert (hushed["at"], hushed["sent"]) == (firing[1], later[0][1] if later else None)
    assert hushed["sent"] is not None or hushed["why"] == "silence settings-1"


def test_what_nobody_is_told_of_is_marked_and_counts_nowhere(folder: Path) -> None:
    stories = sorted(tape(), key=lambda one: one.at)
    path, events = documents(folder, stories), labels(folder, f"Acme Corp,{day(CRISIS)},a crisis,")
    told = replay(folder, path, events=events)
    assert (told["alerts"], told["judged_alerts"], told["events_found"]) == (1, 1, 1)
    assert told["by_rule"] == {"burst": 1} and told["by_key"] == {"entity:acme-corp": 1}
    routed = "[[routes]]\nkeys = ['entity:borealis-corp']\nchannels = ['desk']\n"
    (folder / "tapewatch.toml").write_text(CONFIG + CHANNEL + routed)
    summary = replay(folder, path, events=events)
    report = json.loads((folder / "out" / "report.json").read_bytes())
    assert sent(folder) == []
    assert (summary["alerts"], summary["judged_alerts"], summary["events_found"]) == (0, 0, 0)
    assert summary["bursts"] == told["bursts"] > 0 and summary["bursts_alone"]["events_found"] == 1
    assert sum(summary["told_to_nobody"].values()) == len(report["alerts"])
    unsent = of_acme(report)
    assert (unsent["sent"], unsent["why"], unsent["matches"]) == (None, "no route names a channel for it", None)
    assert "1 alerts are told to nobody: no route names a channel for it" in summary["notes"]
    page = (folder / "out" / "report.html").read_text()
    assert "Told to nobody" in page and "no route names a channel for it" in page
    assert f"{summary['bursts_alone']['judged_bursts']} bursts and 1 events found, where 0 alerts found 0" in page
    (folder / "all.toml").write_text(CONFIG + CHANNEL)
    replay(folder, path, compare=folder / "all.toml")
    compared = json.loads((folder / "out" / "report.json").read_bytes())["compare"]
    assert compared["settings"] == ["routes: 1 entries less, 0 more"]
    (change,) = compared["changes"]
    assert (change["kind"], change["at"], change["other_at"]) == ("moves", unsent["at"], unsent["at"])
    assert change["why"] == "rings by itself; before: told to nobody: no route names a channel for it"


def test_a_burst_in_another_alert_is_found_through_it_and_counts_once(folder: Path) -> None:
    stories = sorted(tape(), key=lambda one: one.at)
    moment = datetime.fromtimestamp(CRISIS, UTC).isoformat()
    events = labels(folder, f"market,{moment},a shock,", f"Acme Corp,{moment},a crisis,")
    path = documents(folder, stories)
    summary = replay(folder, path, events=events)
    report = json.loads((folder / "out" / "report.json").read_bytes())
    assert summary["bursts"] > 1 and summary["bursts"] == len(report["alerts"])
    assert (summary["alerts"], summary["entity_alerts"], summary["judged_alerts"]) == (1, 1, 1)
    assert (summary["events_found"], summary["precision_lower_bound"]) == (2, 1.0)
    assert summary["told_to_nobody"] == {"part of another alert": summary["bursts"] - 1}
    acme = of_acme(report)
    events_of = {event["what"]: event for event in report["events"]}
    assert events_of["a shock"]["through"] == acme["key"] and events_of["a crisis"]["through"] is None
    assert {event["alert"] for event in report["events"]} == {acme["id"]}
    market = next(one for one in report["alerts"] if one["key"] == "market")
    assert (market["sent"], market["merged_into"], market["why"]) == (None, acme["id"], "part of another alert")
    page = (folder / "out" / "report.html").read_text()
    assert ", as part of entity:acme-corp" in page and "part of another alert: Acme Corp" in page
    # Who doesn't watch the company hears of the market, which is told as a part of the company's alert elsewhere.
    (folder / "other.toml").write_text(CONFIG.replace("Acme", "Cygnus"))
    replay(folder, path, compare=folder / "other.toml")
    changes = json.loads((folder / "out" / "report.json").read_bytes())["compare"]["changes"]
    assert {change["kind"] for change in changes if change["key"] == acme["key"]} == {"vanishes"}
    moved = [change for change in changes if change["kind"] == "moves"]
    assert moved and {one["why"] for one in moved} == {"rings by itself; before: part of Acme Corp (entity:acme-corp)"}


def test_two_settings_are_compared_by_the_term_that_changed(folder: Path) -> None:
    stories = sorted(tape(), key=lambda one: one.at)
    path = documents(folder, stories)
    stricter = CONFIG.replace("month = 0.2", "month = 0.001").replace("Borealis", "Cygnus")
    (folder / "tapewatch.toml").write_text(CONFIG.replace("month = 0.2", "month = 3"))
    (folder / "other.toml").write_text(stricter)
    replay(folder, path, compare=folder / "other.toml")
    report = json.loads((folder / "out" / "report.json").read_bytes())
    found = report["compare"]
    assert "detection.false_alarms_per_key_month: 3.0 to 0.001" in found["settings"]
    assert "watchlists: 1 entries less, 1 more" in found["settings"]
    told = sum(alert["sent"] is not None for alert in report["alerts"])
    after = sum(change["why"].startswith("rings by itself") for change in found["changes"])
    assert found["same"] + found["moves"] - after + found["vanishes"] == told > 0
    theirs = {"entity:borealis-corp", "list:mine"}  # the list has other stories without Borealis
    changes = {change["kind"]: change for change in found["changes"] if change["key"] not in theirs}
    assert changes["vanishes"]["why"].startswith("threshold: "), changes
    low, high = changes["vanishes"]["terms"]["threshold"]
    assert (low, high) == pytest.approx((math.log1p(1 / 3), math.log1p(1_000)), abs=0.01)
    assert changes["vanishes"]["terms"]["score"][1] < high
    lost = [change for change in found["changes"] if change["key"] == "entity:borealis-corp"]
    assert lost and all(change["why"] == "not watched any more" for change in lost)
    turned = folder / "tapewatch.toml"
    (folder / "first.toml").write_text(turned.read_text())
    turned.write_text(stricter)
    replay(folder, path, out="turned", compare=folder / "first.toml")
    back = json.loads((folder / "turned" / "report.json").read_bytes())["compare"]
    assert (back["same"], back["appears"], back["vanishes"]) == (found["same"], found["vanishes"], found["appears"])
    assert "watched only now" in {change["why"] for change in back["changes"]}
    assert "With " in (folder / "out" / "report.html").read_text()
    rule = "[[rules]]\nkind = 'flash'\nname = 'ruin'\nphrases = ['fraud']\nprobability = 0.8\npublishers = 1\n"
    (folder / "ruled.toml").write_text(stricter + rule)
    replay(folder, path, out="ruled", compare=folder / "ruled.toml")
    ruled = json.loads((folder / "ruled" / "report.json").read_bytes())["compare"]
    assert ruled["settings"] == ["rules: 0 entries less, 1 more"] and ruled["appears"] == len(ruled["changes"]) > 0
    assert {change["why"] for change in ruled["changes"]} == {"rule ruin: new"}
    replay(folder, path, out="same", compare=folder / "tapewatch.toml")
    assert json.loads((folder / "same" / "report.json").read_bytes())["compare"]["changes"] == []


# -- the report, in a browser ---------------------------------------------------------------------------------

CHROMIUM = shutil.which("chromium")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="apt-get install chromium")
async def test_the_report_needs_nothing_and_runs_nothing(folder: Path) -> None:
    from playwright.async_api import async_playwright

    stories = sorted(tape(), key=lambda one: one.at)
    for one in stories:
        if one.at >= CRISIS - DAY:
            one.title += " <script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    hostile = f"Borealis,{day(T0 + 29 * DAY)},<img src=x onerror=alert(1)>,"
    await asyncio.to_thread(replay, folder, documents(folder, stories), events=labels(folder, hostile))
    wanted: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        backs = set()
        for scheme in ("light", "dark"):
            page = await browser.new_page(color_scheme=scheme, viewport={"width": 1000, "height": 800})  # type: ignore[arg-type]
            page.on("console", lambda message: wanted.append(message.text))
            page.on("request", lambda request: wanted.append(request.url))
            await page.goto((folder / "out" / "report.html").as_uri())
            assert (await page.title()).startswith("Replay, 2026-")
            assert await page.locator("svg[role=img]").count() >= 4
            assert await page.locator("script, img, link").count() == 0
            backs.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
            first = page.locator("details").first
            await first.locator("summary").click()
            assert "<script>" in await first.locator(".stories").inner_text()
            fits = "document.documentElement.scrollWidth <= window.innerWidth"
            assert await page.evaluate(fits), "nothing hangs out of the page"
            await page.close()
        await browser.close()
    assert len(backs) == 2, "light and dark"
    assert {one for one in wanted if not one.startswith("file:")} == set()

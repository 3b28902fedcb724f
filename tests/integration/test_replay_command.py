"""``tapewatch replay``: the same bytes again, what is refused, and what it tells of its input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from models.classifier import FakeClassifier
from monitor.settings import SettingsError
from pipelines.documents import epoch
from pipelines.sources.files import FileError
from tests.daemon_bench import ACME, Daemon, Receiver, wait_for
from tests.replay_bench import CRISIS, day, documents, labels, replay, tape
from tests.stream_bench import DAY, T0


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

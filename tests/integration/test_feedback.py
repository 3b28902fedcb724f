"""Verdicts on alerts: given by API and command, kept whatever befalls the daemon, exported and summed up."""

from __future__ import annotations

import csv
import gzip
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.daemon_bench import ACME, Daemon, Hook, Receiver, request, wait_for

WATCHED = ACME + '[[watchlists]]\nname = "other"\nentities = [{ name = "Borealis Mills", aliases = ["Borealis"] }]\n'
TOKEN = "a-token-of-these-tests"


@pytest.fixture(scope="module")
def hooks() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, hooks: Receiver) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("feedback")
    (folder / "token").write_text(TOKEN + "\n")
    running = Daemon(folder, WATCHED + hooks.channel("desk", "/desk") + '[web]\ntoken_file = "token"\n')
    running.headers["authorization"] = f"Bearer {TOKEN}"
    with running:
        running.ring()
        running.ring("Borealis")
        wait_for(lambda: {"entity:acme-corp", "entity:borealis-mills"} <= fired(hooks).keys(), "alerts")
        wait_for(
            lambda: running.idle() and len(running.get("alerts")["alerts"]) >= len(fired(hooks)), "them in the view"
        )
        yield running


def fired(hooks: Receiver) -> dict[str, Hook]:
    """The first event of each key's alert."""
    return {hook.body["data"]["subject"]["key"]: hook for hook in reversed(hooks.at("/desk", "alert.firing"))}


def episode(hook: Hook) -> str:
    return str(hook.body["data"]["episode"]["id"])


def given(daemon: Daemon, alert: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.get(f"alerts/{alert}/feedback")["verdicts"]
    return found


def judge(daemon: Daemon, hooks: Receiver) -> dict[str, str]:
    """Two alerts, one true and one false."""
    judged = {
        episode(fired(hooks)["entity:acme-corp"]): "true",
        episode(fired(hooks)["entity:borealis-mills"]): "false",
    }
    for alert, said in judged.items():
        assert daemon.post(f"alerts/{alert}/feedback", {"verdict": said, "note": "=1+1", "by": "Cy"})[0] == 202
    last = [(said, "Cy") for said in judged.values()]
    wait_for(
        lambda: [(one["verdict"], one["by"]) for alert in judged for one in given(daemon, alert)[-1:]] == last, "both"
    )
    return judged


def test_a_verdict_is_given_at_the_address_that_the_alert_names(daemon: Daemon, hooks: Receiver) -> None:
    hook = fired(hooks)["entity:acme-corp"]
    alert, link = episode(hook), hook.body["data"]["links"]["feedback"]
    assert daemon.get(f"alerts/{alert}/feedback") == {"alert": alert, "verdict": None, "verdicts": []}
    said = {"verdict": "unsure", "note": "Looks old", "by": "Ada"}
    assert request(link, said)[0] == 401
    status, _, body = request(link, said, headers=daemon.headers)
    assert status == 202 and json.loads(body)["alert"] == alert
    wait_for(lambda: given(daemon, alert), "verdict")
    # By the id of the event, as a receiver has it in its headers.
    done = daemon.cli("feedback", "add", hook.id, "true", "--note", "A real\ncrisis\x1b[31m \u202e", "--by", "Bea")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: len(given(daemon, alert)) == 2, "second verdict")
    first, last = given(daemon, alert)
    assert [(one["verdict"], one["note"], one["by"]) for one in (first, last)] == [
        ("unsure", "Looks old", "Ada"),
        ("true", "A real crisis[31m", "Bea"),
    ]
    assert daemon.get(f"alerts/{alert}/feedback")["verdict"] == "true"
    listed = {one["alert"]: one for one in daemon.lines("feedback", "list")}
    assert (listed[alert]["verdict"], listed[alert]["key"], listed[alert]["name"]) == (
        "true",
        "entity:acme-corp",
        "Acme Corp",
    )
    unusual = hook.body["data"]["unusual"]
    figures = last["figures"]
    assert figures["threshold"] == unusual["threshold"] and figures["score"] >= unusual["score"]
    assert figures["budget"] == unusual["false_alarms_per_month"] == 0.05
    assert (figures["rule"], figures["class"], figures["watchlists"]) == ("burst", "news", ["mine"])
    assert figures["model"] == hook.body["data"]["provenance"]["model"]
    assert {story["id"] for story in hook.body["data"]["evidence"]["stories"]} <= set(figures["quoted"])
    assert daemon.metric("tapewatch_verdicts_total", verdict="unsure") == 1
    assert daemon.metric("tapewatch_verdicts_total", verdict="true") == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"verdict": "useful"}, '"true", "false", "unsure"'),
        ({"verdict": True}, '"true", "false", "unsure"'),
        ({}, "verdict"),
        ([], "object"),
        (b"\xff", '"true", "false", "unsure"'),
        (b"[" * 100_000, "verdict"),
        (b'{"verdict": "true", "note": "\\ud800 half"}', "texts"),
        ({"verdict": "true", "note": 5}, "note"),
        ({"verdict": "true", "notes": "typed wrongly"}, "notes"),
        ({"verdict": "true", "note": "x" * 2**20}, "1048576 characters, 1000 are kept"),
        ({"verdict": "true", "by": "x" * 81}, "81 characters, 80 are kept"),
    ],
)
def test_what_is_no_verdict_is_refused_and_changes_nothing(
    daemon: Daemon, hooks: Receiver, body: Any, says: str
) -> None:
    alert = episode(fired(hooks)["entity:borealis-mills"])
    status, problem = daemon.post(f"alerts/{alert}/feedback", body)
    assert status == 422 and says in problem["title"] + problem["detail"], problem
    assert len(problem["detail"]) < 400
    wait_for(daemon.idle, "rest")
    assert given(daemon, alert) == [] and daemon.get("dead-letters")["dead_letters"] == []


@pytest.mark.parametrize(
    "name", ["nobody", "", " ", "..", "\x00", "%", "ünïcode", "a'; DROP TABLE verdicts; --", "x" * 5_000]
)
def test_an_id_that_is_none_is_not_found(daemon: Daemon, name: str) -> None:
    path = f"alerts/{quote(name, safe='')}/feedback"
    assert daemon.post(path, {"verdict": "true"})[0] == 404
    assert request(f"{daemon.url}/api/v1/{path}", headers=daemon.headers)[0] == 404


def test_a_command_says_what_is_wrong(daemon: Daemon, hooks: Receiver, tmp_path: Path) -> None:
    alert = episode(fired(hooks)["entity:borealis-mills"])
    for arguments, code, says in (
        (("add", "nobody", "true"), 1, "No such alert: none has the id 'nobody'"),
        (("add", alert, "maybe"), 1, '"true", "false", "unsure"'),
        (("export", "--out", str(tmp_path / "v.xlsx")), 2, "ends in none of .csv, .csv.gz"),
        (("export", "--out", str(tmp_path / "nowhere" / "v.csv")), 2, "No such file"),
        (("report", "--budget", "0"), 2, "--budget 0: is above 0"),
    ):
        done = daemon.cli("feedback", *arguments)
        assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    for query in (
        "feedback?verdict=maybe",
        "feedback?limit=0",
        "feedback/report?budget=-1",
        "feedback/report?budget=x",
    ):
        assert request(f"{daemon.url}/api/v1/{query}", headers=daemon.headers)[0] == 400, query


def test_verdicts_that_come_at_once_are_all_kept_in_one_order(daemon: Daemon, hooks: Receiver) -> None:
    alert = episode(fired(hooks)["entity:borealis-mills"])
    said = ["true", "false", "unsure"] * 8
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda one: daemon.post(f"alerts/{alert}/feedback", {"verdict": one[1], "by": str(one[0])}),
                     enumerate(said))
        )  # fmt: skip
    assert {status for status, _ in answers} == {202}
    wait_for(lambda: len(given(daemon, alert)) == len(said), "all of them")
    kept = given(daemon, alert)
    assert sorted(int(one["by"]) for one in kept) == list(range(len(said)))
    assert {one["id"] for one in kept} == {answer["id"] for _, answer in answers}
    (counts,) = [one for one in daemon.lines("feedback", "list") if one["alert"] == alert]
    assert counts["id"] == kept[-1]["id"]


def test_verdicts_are_exported_and_summed_up(daemon: Daemon, hooks: Receiver, tmp_path: Path) -> None:
    judge(daemon, hooks)
    kept = {one["alert"]: one for one in daemon.get("feedback")["feedback"]}
    online = daemon.get("feedback/report?budget=0.05&budget=1e-99&budget=5")
    for name in ("v.csv", "v.csv.gz"):
        done = daemon.cli("feedback", "export", "--out", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"rows": 2, "alerts": 2, "true": 1, "false": 1, "unsure": 0}
    text = (tmp_path / "v.csv").read_bytes()
    assert gzip.decompress((tmp_path / "v.csv.gz").read_bytes()) == text
    rows = {row["alert"]: row for row in csv.DictReader(text.decode().splitlines())}
    assert rows.keys() == kept.keys()
    for alert, row in rows.items():
        figures = kept[alert]["figures"]
        assert (row["verdict"], row["by"], row["at"]) == (kept[alert]["verdict"], "Cy", kept[alert]["at"])
        assert row["note"] == "'=1+1", "a spreadsheet would run it"
        assert row["onset"] == figures["opened"]
        for name in ("key", "name", "class", "rule", "severity", "model", "configuration"):
            assert row[name] == figures[name]
        for name in ("score", "threshold", "budget", "observed", "expected", "ratio", "stories", "publishers"):
            assert float(row[name]) == figures[name]
        assert row["watchlists"].split(";") == (figures["watchlists"] or [""])
        assert row["quoted"].split(";") == figures["quoted"]

    done = daemon.cli("replay", "--events", str(tmp_path / "v.csv.gz"), "--out", str(tmp_path / "replay"))
    assert done.returncode == 0, done.stderr
    replayed = json.loads((tmp_path / "replay" / "summary.json").read_text())
    (event,) = replayed["events"]
    acme = fired(hooks)["entity:acme-corp"].body
    assert (event["keys"], event["state"], event["rang"]) == (["entity:acme-corp"], "found", acme["timestamp"])
    assert (replayed["events_known"], replayed["judged_false"]) == (1, 1), "what Borealis rang for was judged false"

    done = daemon.cli("feedback", "report", "--json", "--budget", "0.05", "--budget", "1e-99", "--budget", "5")
    told = json.loads(done.stdout)
    assert told == online
    every, mine = told["all"], told["watchlists"]["mine"]
    assert (every["judged"], every["true"], every["false"], every["alerts"]) == (2, 1, 1, len(fired(hooks)))
    assert every["precision"] == {"value": 0.5, "low": 0.0945, "high": 0.9055}
    assert (mine["judged"], mine["precision"]["value"]) == (1, 1.0)
    assert [(row["budget"], row["true"], row["false"], row["looser"]) for row in every["budgets"]] == [
        (5.0, 1, 1, True),
        (0.05, 1, 1, False),
        (1e-99, 0, 0, False),
    ]
    assert every["budgets"][2]["recall"]["value"] == 0.0 and every["budgets"][2]["precision"]["value"] is None
    shown = daemon.cli("feedback", "report").stdout
    assert "all alerts: 2 of" in shown and "watch-list mine: 1 of" in shown and "what stayed silent was judged" in shown


def test_the_stories_of_judged_alerts_are_a_table_to_label_and_learn_from(
    daemon: Daemon, hooks: Receiver, tmp_path: Path
) -> None:
    judged, out = judge(daemon, hooks), tmp_path / "stories.csv"
    done = daemon.cli("feedback", "export", "--stories", "--out", str(out))
    assert done.returncode == 0, done.stderr
    with out.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    stories = [
        (story, judged[hook.body["data"]["episode"]["id"]])
        for hook in hooks.at("/desk", "alert.")
        if hook.body["data"]["episode"]["id"] in judged
        for story in hook.body["data"]["evidence"]["stories"]
    ]
    assert {row["document"] for row in rows} == {story["id"] for story, _ in stories}
    for row in rows:
        about = [(story, said) for story, said in stories if story["id"] == row["document"]]
        assert (
            row["text"] == about[0][0]["headline"]
            and row["entity"] in ("Acme", "Borealis")
            and row["entity"] in row["text"]
        )
        assert set(row["verdicts"].split(";")) == {said for _, said in about}
        assert row["read"] == "negative" and not any(row[name] for name in ("sentiment", "risk", "entity_sentiment"))
    with out.open("w", newline="") as lines:
        table = csv.DictWriter(lines, rows[0])
        table.writeheader()
        table.writerows(row | {"sentiment": row["read"], "entity_sentiment": "neutral"} for row in rows)
    done = daemon.cli("models", "finetune", "--data", str(out), "--check")
    assert done.returncode == 2 and "too few rows to learn from" in done.stderr
    assert len(done.stderr.splitlines()) == 2, "only their number is wrong"


def test_nothing_that_befalls_the_daemon_loses_a_verdict(daemon: Daemon, hooks: Receiver, tmp_path: Path) -> None:
    """Killed, without its read model, and put back from a backup."""
    acme, borealis = (episode(fired(hooks)[key]) for key in ("entity:acme-corp", "entity:borealis-mills"))
    assert daemon.post(f"alerts/{borealis}/feedback", {"verdict": "true", "note": "After all", "by": "Dee"})[0] == 202
    daemon.stop(signal.SIGKILL)
    with daemon:
        wait_for(lambda: given(daemon, borealis)[-1]["by"] == "Dee", "the last one")
        before = {alert: given(daemon, alert) for alert in (acme, borealis)}
        assert daemon.cli("backup", "--out", str(tmp_path / "kept")).returncode == 0
        assert daemon.stop() == 0
    for path in daemon.folder.glob("tapewatch.db.view*"):
        path.unlink()
    with daemon:
        wait_for(lambda: daemon.get("feedback")["feedback"][1:], "read model filled anew")
        assert {alert: given(daemon, alert) for alert in (acme, borealis)} == before
        assert daemon.post(f"alerts/{borealis}/feedback", {"verdict": "unsure"})[0] == 202, "after the backup"
        assert daemon.stop() == 0
    assert daemon.cli("restore", str(tmp_path / "kept")).returncode == 0
    with daemon:
        wait_for(daemon.idle, "rest")
        assert {alert: given(daemon, alert) for alert in (acme, borealis)} == before
    without = daemon.cli("feedback", "report", "--json")
    assert json.loads(without.stdout)["all"]["true"] == 2, "no daemon runs"

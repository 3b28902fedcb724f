"""The operator's commands against a running daemon: each does what it says, or says why not."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from models.classifier import FakeClassifier
from tests.daemon_bench import ACME, Daemon, Receiver, free_port, request, wait_for
from tests.inside_bench import inside

TOKEN = "a-token-of-these-tests"
NAMES = ("Acme", "Borealis", "Cormorant", "Dunlin")
WATCHED = (
    "[[watchlists]]\nname = 'mine'\nentities = ["
    + ", ".join(f'{{ name = "{name} Foundries" }}' for name in NAMES)
    + "]\n"
)
SILENCED = '[[silences]]\nkeys = ["topic:*", "market", "list:*"]\nuntil = "2099-01-01T00:00:00Z"\ncomment = "noise"\n'


@pytest.fixture(scope="module")
def hooks() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, hooks: Receiver) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("operations")
    (folder / "token").write_text(TOKEN + "\n")
    settings = (
        WATCHED
        + SILENCED
        + hooks.channel("交易 desk", "/desk")
        + '[detection]\nmin_open = "1s"\n'
        + '[web]\ntoken_file = "token"\n'
    )
    running = Daemon(folder, settings)
    running.headers["authorization"] = f"Bearer {TOKEN}"
    with running:
        yield running


def only(hooks: Receiver, key: str) -> list[str]:
    return [hook.type for hook in hooks.at("/desk", "alert") if hook.body["data"]["subject"]["key"] == key]


def test_a_silence_keeps_its_alerts_from_ringing_and_says_so(daemon: Daemon, hooks: Receiver) -> None:
    done = daemon.cli(
        "silences", "add", "--key", "entity:acme*", "--until", "2h", "--comment", "known", "--author", "Ada"
    )
    assert done.returncode == 0, done.stderr
    name = json.loads(done.stdout)["id"]
    listed = {one["id"]: one for one in daemon.lines("silences", "list")}
    assert listed[name]["state"] == "active" and listed["settings-1"]["created"] is None
    lasts = datetime.fromisoformat(listed[name]["expires"]) - datetime.fromisoformat(listed[name]["created"])
    assert abs(lasts - timedelta(hours=2)) < timedelta(seconds=10)
    assert set(listed) == {"settings-1", name}
    assert (listed[name]["comment"], listed[name]["author"]) == ("known", "Ada")
    assert listed[name]["match"]["keys"] == ["entity:acme*"]

    daemon.ring("Acme Foundries")
    daemon.ring("Borealis Foundries")
    wait_for(lambda: only(hooks, "entity:borealis-foundries"), "alert that no silence matches")
    alerts = wait_for(
        lambda: (
            (found := {alert["key"]: alert for alert in daemon.get("alerts")["alerts"]}).keys()
            >= {"entity:acme-foundries", "entity:borealis-foundries", "market"}
            and found
        ),
        "alerts in the list",
    )
    assert alerts["entity:acme-foundries"]["silenced_by"] == name, "it does not say so"
    assert alerts["entity:acme-foundries"]["channels"] == []
    assert alerts["market"]["silenced_by"] == "settings-1"
    assert alerts["entity:borealis-foundries"]["silenced_by"] is None
    assert {hook.body["data"]["subject"]["key"] for hook in hooks.at("/desk", "alert")} == {"entity:borealis-foundries"}

    assert daemon.cli("silences", "expire", name).returncode == 0
    over = wait_for(
        lambda: [
            one for one in daemon.get("silences")["silences"] if one["id"] == name and one["expires"] < time.time()
        ],
        "end of the silence",
    )
    assert (over[0]["comment"], over[0]["state"]) == ("known", "over")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"until": "2099-01-01T00:00:00Z"}, "keys, watchlists or severities"),
        ({"keys": ["market"]}, "until"),
        ({"keys": ["market"], "until": "tomorrow"}, "ISO 8601"),
        ({"keys": ["market"], "until": "2099-01-01T00:00:00"}, "offset"),
        ({"keys": ["market"], "until": "2020-01-01T00:00:00Z"}, "past"),
        ({"keys": ["market"], "until": "inf"}, "ISO 8601"),
        ({"keys": ["market"], "until": "nan"}, "ISO 8601"),
        ({"keys": "market", "until": "2099-01-01T00:00:00Z"}, "array"),
        ({"severities": ["terrible"], "until": "2099-01-01T00:00:00Z"}, "info, warning, error, critical"),
        ({"keys": ["market"], "until": "0s"}, "past"),
        ({"keys": ["entity:acme-foundry"], "until": "2h"}, "did you mean 'entity:acme-foundries'"),
        ({"watchlists": ["mime"], "until": "2099-01-01T00:00:00Z"}, "'mime'"),
    ],
)
def test_a_silence_that_can_not_work_is_refused(daemon: Daemon, body: dict, says: str) -> None:
    before = len(daemon.get("silences")["silences"])
    status, problem = daemon.post("silences", body)
    assert status in (400, 422), (status, problem)
    assert says in problem["detail"]
    wait_for(daemon.idle, "rest")
    assert len(daemon.get("silences")["silences"]) == before
    assert daemon.get("dead-letters")["dead_letters"] == [], "accepted, and then found to be none"


def test_ending_a_silence_that_is_not_there_or_not_ours_to_end_is_refused(daemon: Daemon) -> None:
    done = daemon.cli("silences", "expire", "no such/one")
    assert done.returncode == 1 and "No such silence" in done.stderr and "'no such/one'" in done.stderr
    status, problem = daemon.delete("silences/settings-1")
    assert status == 409 and "settings" in problem["detail"]


def test_deliveries_are_listed_and_retried(daemon: Daemon, hooks: Receiver) -> None:
    hooks.answers["/desk"] = 500
    before = {one["id"] for one in daemon.lines("deliveries", "list")}
    daemon.ring("Cormorant Foundries")
    # The next attempt by itself is minutes away only after the second one.
    owed = wait_for(
        lambda: [one for one in daemon.get("deliveries?state=pending")["deliveries"] if one["attempts"] == 2],
        "second failed attempt",
    )
    wait_for(daemon.idle, "rest")
    pending = {one["id"] for one in daemon.get("deliveries?state=pending")["deliveries"]}
    shown = daemon.lines("deliveries", "list", "--state", "pending")
    assert {one["id"] for one in owed} <= {one["id"] for one in shown} == pending and not pending & before
    one = next(one for one in shown if one["id"] == owed[0]["id"])
    assert one["channel"] == "交易 desk" and one["reason"] == "server_error" and "body" not in one
    sent = hooks.hooks[-1].body["data"]
    about = {entry["event"]: (entry["key"], entry["summary"]) for entry in shown}
    assert about[sent["id"]] == (sent["subject"]["key"], sent["summary"]) and "Cormorant" in sent["summary"]

    hooks.answers["/desk"] = 204
    asked = len(hooks.hooks)
    done = daemon.cli("deliveries", "retry", one["id"], environment={"http_proxy": f"http://127.0.0.1:{free_port()}"})
    assert done.returncode == 0, done.stderr
    again = wait_for(lambda: hooks.hooks[asked:], "retry")
    assert again[0].id == one["event"]
    wait_for(lambda: not daemon.get("deliveries?state=pending")["deliveries"], "record of it")
    settled = {entry["id"]: entry for entry in daemon.lines("deliveries", "list", "--state", "delivered")}
    assert settled[one["id"]]["attempts"] == 3

    done = daemon.cli("deliveries", "retry", one["id"])
    assert done.returncode == 1 and "delivered" in done.stderr
    assert daemon.post("deliveries/no%20such%7Cdesk/retry")[0] == 404
    done = daemon.cli("deliveries", "list", "--state", "lost")
    assert done.returncode == 1 and "delivered, failed, pending or standing" in done.stderr


def test_a_retry_enables_a_channel_that_was_disabled(daemon: Daemon, hooks: Receiver) -> None:
    hooks.answers["/desk"] = 410
    daemon.ring("Dunlin Foundries")
    failed = wait_for(lambda: daemon.get("deliveries?state=failed")["deliveries"], "failed delivery")
    hooks.answers["/desk"] = 204
    asked = len(hooks.hooks)
    assert daemon.cli("deliveries", "retry", failed[0]["id"]).returncode == 0
    assert wait_for(lambda: hooks.hooks[asked:], "retry")[0].id == failed[0]["event"]


def test_a_channel_is_tested_with_and_without_the_daemon(daemon: Daemon, hooks: Receiver, tmp_path: Path) -> None:
    asked = len(hooks.hooks)
    done = daemon.cli("channels", "test", "交易 desk")
    assert done.returncode == 0 and json.loads(done.stdout)["ok"], done.stderr
    assert [hook.type for hook in hooks.hooks[asked:]] == ["test.ping"]
    hooks.answers["/desk"] = 403
    done = daemon.cli("channels", "test", "交易 desk")
    assert done.returncode == 1 and json.loads(done.stdout)["reason"] == "rejected"
    hooks.answers["/desk"] = 204
    status, outcome = daemon.post("channels/%E4%BA%A4%E6%98%93%20desk/test")
    assert (status, outcome["ok"]) == (200, True)
    done = daemon.cli("channels", "test", "nobody")
    assert done.returncode == 2 and "交易 desk" in done.stderr
    alone = Daemon(tmp_path, ACME + hooks.channel("desk", "/alone"))
    assert alone.cli("channels", "test", "desk").returncode == 0
    assert [hook.type for hook in hooks.at("/alone")] == ["test.ping"]


def test_without_daemon_or_token_a_command_says_so(daemon: Daemon, tmp_path: Path) -> None:
    alone = Daemon(tmp_path, ACME)
    done = alone.cli("silences", "list")
    assert done.returncode == 1 and "no daemon answers" in done.stderr and "Traceback" not in done.stderr
    stranger = Daemon(tmp_path, ACME + '[web]\ntoken = "another"\n', port=daemon.port)
    done = stranger.cli("silences", "expire", "x")
    assert done.returncode == 1 and "Not signed in" in done.stderr and "another" not in done.stderr
    for header in ("Bearer", "Bearer another", "Basic YTpi", "Bearer Ã\x9f"):
        assert daemon.post("reload", headers={"authorization": header})[0] == 401, header
    assert request(f"{daemon.url}/api/v1/reload", {})[0] == 401


def test_dead_letters_are_listed_shown_and_retried(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, ACME)
    unknown = json.dumps({"schema": 99, "id": "from-the-future", "title": "Depot opens in 2031"}).encode()
    document = {"source": "x", "class": "news", "title": "T", "language": "en"}
    document |= dict.fromkeys(("published", "fetched", "at"), "2026-01-01T00:00:00.000Z")
    newer = json.dumps(document | {"schema": 99, "id": "newer"}).encode()
    try:
        daemon.start()
        assert daemon.stop() == 0
        with sqlite3.connect(daemon.store) as db:
            head = db.execute("SELECT offset FROM head").fetchone()[0]
            for number, payload in enumerate((unknown, newer, b"\xff\xfe no record"), 1):
                db.execute(
                    "INSERT INTO log_documents VALUES (?, ?, ?, ?)", (head + number, f"k{number}", payload, time.time())
                )
            db.execute("UPDATE head SET offset = ?", (head + 3,))
        db.close()
        daemon.start()
        daemon.push({"id": "mate", "title": "Depot number one opens"})
        wait_for(lambda: daemon.seen("Depot number one opens"), "batch mate")
        letters = daemon.lines("dead-letters", "list")
        assert [letter["id"] for letter in letters] == ["k1", "k2", "k3"]
        assert [letter["reason"] for letter in letters] == ["unknown_schema", "unknown_schema", "undecodable"]
        assert "schema 99" in letters[1]["detail"] and "payload" not in letters[1]
        number = str(letters[1]["number"])
        shown = daemon.cli("dead-letters", "show", number)
        assert shown.returncode == 0 and shown.stdout.split("\n", 1)[1].encode() == newer + b"\n"
        assert daemon.cli("dead-letters", "retry", number).returncode == 0
        back = wait_for(
            lambda: [
                letter
                for letter in daemon.get("dead-letters")["dead_letters"]
                if letter["id"] == "k2" and letter["number"] != int(number)
            ],
            "letter again: it is as unknown as before",
        )
        assert len(back) == 1
        for name in (number, "999999999999999999999", "²"):
            status, problem = daemon.post(f"dead-letters/{name.replace('²', '%C2%B2')}/retry")
            assert (status, problem["title"]) == (404, "No such dead letter"), name
        metrics = request(f"{daemon.url}/metrics")[2].decode()
        assert 'tapewatch_dead_letters_total{reason="unknown_schema",stage="score"} 3.0' in metrics
        assert daemon.stop() == 0
    finally:
        daemon.__exit__()


async def test_a_letter_is_handled_once_its_cause_is_gone(tmp_path: Path) -> None:
    model = FakeClassifier(poison="basilisk")
    async with inside(tmp_path, ACME, classifier=model) as daemon:
        await daemon.push({"title": "A basilisk opens in the harbour"}, {"title": "Depot number one opens"})
        letters = []
        while not letters:
            letters = daemon.daemon.read_model.dead_letters()
            await daemon.pass_time(1)
        assert [letter["reason"] for letter in letters] == ["classifier_failed"]
        model._poison = "\x00"
        assert await daemon.daemon.operators.retry_dead_letter(letters[0]["number"])
        await daemon.until(lambda: daemon.daemon.read_model.count() == 2, "judgement")
        assert daemon.daemon.read_model.dead_letters() == []

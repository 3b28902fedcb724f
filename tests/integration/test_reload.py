"""Settings read again while the daemon works: by SIGHUP and through the API, valid ones and ones that can't work."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_bench import ACME, BAD_NEWS, SECRET, Daemon, Receiver, wait_for

BOREALIS = '[[watchlists]]\nname = "metals"\nentities = [{ name = "Borealis Mining", aliases = ["Borealis"] }]\n'
TO_NIGHT = '[[routes]]\nwatchlists = ["metals"]\nchannels = ["night"]\n'
TO_DESK = '[[routes]]\nwatchlists = ["mine"]\nchannels = ["desk"]\n'
DETECTION = '[detection]\nmin_open = "2s"\n'


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def daemon(tmp_path: Path, hooks: Receiver) -> Iterator[Daemon]:
    channels = hooks.channel("desk", "/desk") + hooks.channel("night", "/night")
    with Daemon(tmp_path, DETECTION + ACME + channels + TO_DESK) as running:
        yield running


def test_new_watch_list_and_route_take_effect_and_nothing_is_lost(daemon: Daemon, hooks: Receiver) -> None:
    before = daemon.get("status")["configuration"]
    acknowledged: list[str] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            names = [f"n{len(acknowledged) + i}" for i in range(5)]
            daemon.push(*({"id": name, "title": f"Depot {name} opens in the harbour"} for name in names))
            acknowledged.extend(names)

    poster = threading.Thread(target=work)
    poster.start()
    try:
        daemon.write(daemon.settings + BOREALIS + TO_NIGHT)
        status, answer = daemon.post("reload")
        assert (status, answer) == (200, {"changed": ["watchlists", "routes"]})
        again = len(acknowledged)
        daemon.send(signal.SIGHUP)  # the same settings once more: no harm
        wait_for(lambda: len(daemon.logged("reloaded")) == 2, "second reload")
        wait_for(lambda: len(acknowledged) > again, "documents after it")
    finally:
        stop.set()
        poster.join()
    daemon.ring("Borealis")
    rang = wait_for(lambda: hooks.at("/night", "alert.firing"), "alert on the new route")
    after = daemon.get("status")["configuration"]
    assert after != before
    bodies = [hook.body["data"] for hook in rang]
    assert all("metals" in body["subject"]["watchlists"] for body in bodies)
    assert {body["provenance"]["configuration"] for body in bodies} == {after}, "alerts name settings long gone"
    assert hooks.at("/desk") == []
    daemon.ring("Acme")
    wait_for(lambda: hooks.at("/desk", "alert.firing"), "alert on the old route")
    assert daemon.stop() == 0
    with sqlite3.connect(daemon.store) as db:
        documents = db.execute("SELECT count(*) FROM log_documents WHERE key != '~watermark'").fetchone()[0]
        scored = db.execute("SELECT count(DISTINCT key) FROM log_scores WHERE key != '~watermark'").fetchone()[0]
    db.close()
    assert documents == scored == len(acknowledged) + 2 * len(BAD_NEWS)
    print(f"{len(acknowledged)} documents were taken in around two reloads, {again} before the second")


REFUSED = {
    "a value that is out of range": (
        lambda text: text.replace('name = "mine"', 'name = "mine"\nfalse_alarms_per_key_month = -3'),
        ("tapewatch.toml", "watchlists #1 (mine).false_alarms_per_key_month", "-3", "greater than 0"),
    ),
    "an unknown key": (
        lambda text: text.replace("[[routes]]\n", '[[routes]]\nchanels = ["desk"]\n'),
        ("tapewatch.toml", "routes #1.chanels", "did you mean 'channels'?"),
    ),
    "a topic that the model does not know": (
        lambda text: text.replace('name = "mine"', 'name = "mine"\ntopics = ["Gossip"]'),
        ("tapewatch.toml", "watchlists #1 (mine)", "topics", "'Gossip'", "Legal | Regulation"),
    ),
    "a route to nowhere": (
        lambda text: text.replace('channels = ["desk"]', 'channels = ["dusk"]'),
        ("tapewatch.toml", "routes #1", "'dusk'", "desk"),
    ),
    "no TOML at all": (lambda text: text + "[[[", ("tapewatch.toml",)),
    "a silence without an offset": (
        lambda text: text + '[[silences]]\nkeys = ["market"]\nuntil = "2031-01-31T12:00:00"\n',
        ("tapewatch.toml", "silences #1", "2031-01-31T12:00:00", "offset"),
    ),
    "what takes a restart": (
        lambda text: text.replace('min_open = "2s"', 'min_open = "3s"'),
        ("detection", "restart"),
    ),
}


def test_settings_that_cannot_work_are_refused_and_the_old_ones_stay(daemon: Daemon, hooks: Receiver) -> None:
    good = daemon.config.read_text()
    before = daemon.get("status")["configuration"]
    for number, (what, (spoil, parts)) in enumerate(REFUSED.items(), 1):
        daemon.config.write_text(spoil(good))
        assert daemon.config.read_text() != good
        status, problem = daemon.post("reload")
        assert status == 422, what
        for part in parts:
            assert part in problem["detail"], (what, problem)
        daemon.send(signal.SIGHUP)
        refused = wait_for(lambda: daemon.logged("reload_refused")[number - 1 :], f"refusal of {what}")[0]
        assert refused["level"] == "error"
        for part in parts:
            assert part in refused["error"], (what, refused)
        assert SECRET not in json.dumps(problem)
    assert daemon.logged("reloaded") == []
    assert SECRET not in daemon.log()
    assert daemon.get("status")["configuration"] == before
    daemon.ring()
    wait_for(lambda: hooks.at("/desk", "alert.firing"), "alert by the old settings")
    daemon.config.write_text(good)
    assert daemon.post("reload") == (200, {"changed": []})


def test_console_log_of_a_refusal_shows_no_secret(tmp_path: Path, hooks: Receiver) -> None:
    """The default log format renders exceptions its own way; settings lie in their frames."""
    settings = ACME + hooks.channel("desk", "/desk") + '[log]\nformat = "console"\n[web]\ntoken = "canary-of-the-web"\n'
    with Daemon(tmp_path, settings) as daemon:
        daemon.config.write_text(daemon.config.read_text().replace('name = "mine"', 'name = "mine"\nwrong = 1'))
        daemon.send(signal.SIGHUP)
        wait_for(lambda: "reload_refused" in daemon.log(), "refusal")
        assert daemon.stop() == 0
        log = daemon.log()
    assert "watchlists #1 (mine).wrong" in log
    for secret in (SECRET, SECRET[10:30], "canary-of-the-web"):
        assert secret not in log


def test_a_hang_up_while_it_starts_does_not_end_the_daemon(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, ACME + '[log]\nformat = "json"\nlevel = "debug"\n')
    daemon.start(ready=False)
    try:
        # The lock file is there from when the store is opened: long before everything is up.
        wait_for((tmp_path / "tapewatch.db.lock").exists, "store")
        daemon.send(signal.SIGHUP)
        wait_for(daemon._is_ready, "readiness")
        assert daemon.stop() == 0
    finally:
        daemon.__exit__()

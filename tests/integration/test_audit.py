"""The audit log: everything that somebody had done, with what it was before and after, over API and command."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemon_bench import ACME, Daemon, Receiver, request, wait_for


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with (
        Receiver() as hooks,
        Daemon(tmp_path_factory.mktemp("audit") / "d", ACME + hooks.channel("desk", "/desk")) as one,
    ):
        hooks.answers["/desk"] = 500
        one.ring()
        wait_for(lambda: one.get("deliveries?state=pending")["deliveries"], "something owed")
        yield one


def log(daemon: Daemon, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.get(f"audit{query}")["audit"]
    return found


def test_what_was_done_is_told_with_who_before_and_after(daemon: Daemon) -> None:
    name = daemon.post("silences", {"keys": ["market"], "until": "2h", "author": "Ada", "comment": "known"})[1]["id"]
    wait_for(lambda: daemon.get("silences")["silences"], "silence")
    assert daemon.delete(f"silences/{name}?by=Bo")[0] == 202
    alert = daemon.get("alerts")["alerts"][0]["alert"]
    for verdict, by in (("true", "Cy"), ("false", "")):
        assert daemon.post(f"alerts/{alert}/feedback", {"verdict": verdict, "by": by, "note": "brambledown"})[0] == 202
    owed = daemon.get("deliveries?state=pending")["deliveries"][0]["id"]
    assert daemon.cli("deliveries", "retry", owed, "--by", "Di").returncode == 0
    assert daemon.post("reload", {"by": "Ed"})[0] == 200
    daemon.send(signal.SIGHUP)
    wait_for(lambda: len(log(daemon)) == 7, "seven entries")
    told = [(one["what"], one["who"], one["subject"]) for one in reversed(log(daemon))]
    configuration = daemon.get("status")["configuration"]
    assert told == [
        ("silence", "Ada", name),
        ("expire_silence", "Bo", name),
        ("feedback", "Cy", alert),
        ("feedback", "operator", alert),
        ("retry_delivery", "Di", owed),
        ("reload", "Ed", configuration),
        ("reload", "SIGHUP", configuration),
    ]
    changes = [(one["before"], one["after"]) for one in reversed(log(daemon))]
    assert changes[0][0] is None and changes[0][1]["match"]["keys"] == ["market"]
    assert changes[1][0]["expires"] == changes[0][1]["expires"] > changes[1][1]["expires"]
    assert changes[2:4] == [(None, {"verdict": "true"}), ({"verdict": "true"}, {"verdict": "false"})]
    assert changes[4] == ({"state": "pending"}, {"state": "pending"})
    assert changes[5][0] == {"configuration": configuration} and changes[5][1]["changed"] == []
    assert "brambledown" not in json.dumps(log(daemon)), "a note has to be let go of, and this is kept"


def test_it_is_filtered_paged_and_told_a_line_each(daemon: Daemon) -> None:
    whole = log(daemon)
    assert [one["who"] for one in log(daemon, "?what=feedback")] == ["operator", "Cy"]
    assert [one["what"] for one in log(daemon, "?who=Ada")] == ["silence"]
    assert log(daemon, f"?since={whole[3]['at']}&until={whole[0]['at']}") == [
        one for one in whole if whole[3]["at"] <= one["at"] < whole[0]["at"]
    ]
    lines, url = list[Any](), f"{daemon.url}/api/v1/audit?format=jsonl&limit=3"
    while url:
        status, headers, body = request(url)
        assert status == 200 and headers["content-type"].startswith("application/x-ndjson")
        lines += [json.loads(line) for line in body.splitlines()]
        link = headers.get("link", "")
        url = daemon.url + link[1 : link.index(">")] if link else ""
    assert lines == whole
    assert daemon.lines("audit") == whole and daemon.lines("audit", "--who", "Cy") == log(daemon, "?who=Cy")
    assert daemon.cli("audit", "--what", "gossip").returncode == 1


def test_it_outlives_the_daemon_and_a_lost_read_model_reads_it_once(daemon: Daemon) -> None:
    whole = log(daemon)
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert log(daemon) == whole
    daemon.stop()
    for path in daemon.folder.glob("tapewatch.db.view*"):
        path.unlink()
    daemon.start()
    wait_for(lambda: log(daemon) == whole, "the same again from the log")

"""``documents forget``: nothing of a document is left in any file, and everything else is as it was."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.daemon_bench import ACME, BAD_NEWS, Daemon, Receiver, wait_for

WORD = "zqwithdrawn"
OTHER = "zqremains"


def holders(folder: Path, word: str) -> list[str]:
    return sorted(
        path.name for path in folder.iterdir() if path.suffix != ".log" and word.encode() in path.read_bytes()
    )


def test_nothing_of_a_document_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Receiver() as receiver:
        receiver.answers["/late"] = "hang"
        settings = (
            '[engine]\ndrain = "2s"\n' + ACME + receiver.channel("desk", "/desk") + receiver.channel("late", "/late")
        )
        daemon = Daemon(tmp_path / "d", settings)
        bad = [{"title": f"{title} {OTHER}", "publisher": f"Paper {n}"} for n, title in enumerate(BAD_NEWS)]
        withdrawn = {
            "id": "w", "title": f"Acme shares plunge on {WORD} fraud, prosecutors say", "text": f"A {WORD} of length.",
            "url": f"https://wire.example/{WORD}", "publisher": "First Wire",
        }  # fmt: skip
        with daemon:
            daemon.push(withdrawn, *bad)
            wait_for(lambda: receiver.at("/desk", "alert.firing"), "alert")
            wait_for(lambda: receiver.at("/late"), "attempt at the other channel")
            wait_for(lambda: daemon.idle() and daemon.seen(withdrawn["title"]), "rest")
            assert daemon.cli("documents", "forget", "0" * 32).returncode == 1, "a daemon runs"
            before, count = holders(daemon.folder, WORD), len(daemon.get("documents?limit=100")["documents"])
            alerts = {one["id"]: one for one in daemon.get("alerts")["alerts"]}
            quoting = next(one["alert"] for one in alerts.values() if WORD in json.dumps(one))
            for note in (f"{WORD} was withdrawn", f"{OTHER} was not"):
                assert daemon.post(f"alerts/{quoting}/feedback", {"verdict": "false", "note": note})[0] == 202
            wait_for(lambda: len(daemon.get(f"alerts/{quoting}/feedback")["verdicts"]) == 2, "verdicts")
            assert any(WORD in json.dumps(one) for one in alerts.values()), "no alert quoted it"
            daemon.stop(signal.SIGKILL)
        found = daemon.lines("documents", "find", WORD.upper())
        assert [one["title"] for one in found] == [withdrawn["title"]]
        done = daemon.cli("documents", "forget", found[0]["id"])
        assert done.returncode == 0, done.stderr
        changed = json.loads(done.stdout)
        left = holders(daemon.folder, WORD)
        receiver.answers["/late"] = 204
        receiver.hooks.clear()
        with daemon:
            wait_for(lambda: len(receiver.at("/late", "alert.firing")) >= len(alerts), "what was owed")
            late = {hook.id: hook.body["data"] for hook in receiver.at("/late", "alert.firing")}
            # Its id is still known: whoever shows it again brings nothing.
            assert daemon.push(withdrawn)["duplicate"] == 1
            wait_for(daemon.idle, "rest")
            shown = {one["id"]: one for one in daemon.get("alerts")["alerts"]}
            assert len(daemon.get("documents?limit=100")["documents"]) == count - 1
            assert daemon.get("dead-letters")["dead_letters"] == []
            told = daemon.get(f"alerts/{quoting}/feedback")["verdicts"]
            assert [(one["verdict"], one["note"]) for one in told] == [("false", None)] * 2
        after = holders(daemon.folder, WORD)
    with capsys.disabled():
        print(f"\nit was in {before}; changed {changed}; then in {left}, and after a run in {after}")
    assert before and left == after == []
    assert changed["documents"] == changed["scores"] == changed["page"] == 1
    assert min(changed["evidence"], changed["candidates"], changed["alerts"], changed["outbox"]) >= 1
    assert changed["commands"] == 2
    assert holders(daemon.folder, OTHER), "the others stay"
    # The list has each alert's newest event, the other channel also those before it.
    assert set(alerts) == set(shown) and {one["episode"]["id"] for one in late.values()} <= {
        one["alert"] for one in shown.values()
    }
    for data in (*late.values(), *(one["body"]["data"] for one in shown.values())):
        assert data["evidence"]["stories"], "the other stories stay"
        assert all(WORD not in story["headline"] for story in data["evidence"]["stories"])
    assert any("stories" in data["truncated"] for data in late.values())


def test_what_can_not_be_forgotten_is_said(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "d", ACME)
    with daemon:
        daemon.push({"title": "Acme opens a depot"})
        wait_for(lambda: daemon.seen("Acme opens a depot"), "document")
        assert daemon.process is not None
        running = daemon.cli("documents", "forget", "0" * 32)
        assert running.returncode == 1 and str(daemon.process.pid) in running.stderr
        assert daemon.stop() == 0
    unknown = daemon.cli("documents", "forget", "0" * 32)
    assert unknown.returncode == 1 and "nothing is kept of" in unknown.stderr
    wrong = daemon.cli("documents", "forget", "no id")
    assert wrong.returncode == 2 and "documents find" in wrong.stderr
    daemon.write('[engine]\nkind = "kafka"\n[engine.kafka]\nbrokers = ["127.0.0.1:9"]\n' + ACME)
    kafka = daemon.cli("documents", "forget", "0" * 32)
    assert kafka.returncode == 2 and "docs/retention.md" in kafka.stderr

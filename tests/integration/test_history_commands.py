"""``backfill`` and ``replay`` on small files: their figures add up, and history does not ring as if it were fresh."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from models.classifier import FakeClassifier
from monitor.app import Daemon as Inner
from monitor.settings import load
from tests.daemon_bench import ACME, BAD_NEWS, Daemon, Receiver, request, wait_for

DAY = 86_400.0
CALM = ("opens a depot", "names a new harbour master", "renews its lease", "hosts a regatta", "paints its cranes")


def at(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def calm(number: int, moment: float) -> dict:
    return {
        "id": f"calm-{number}",
        "title": f"Acme {CALM[number % 5]} in district {number}",
        "published": at(moment),
        "publisher": f"Gazette {number % 4}",
    }


def burst(moment: float) -> list[dict]:
    return [
        {"id": f"bad-{n}", "title": title, "published": at(moment + 60 * n), "publisher": f"Paper {n}"}
        for n, title in enumerate(BAD_NEWS)
    ]


def write(path: Path, entries: list) -> Path:
    path.write_text("".join((entry if isinstance(entry, str) else json.dumps(entry)) + "\n" for entry in entries))
    return path


def test_history_fills_baselines_and_rings_nothing(tmp_path: Path) -> None:
    now = time.time()
    documents = [calm(n, now - 20 * DAY + n * 0.1 * DAY) for n in range(190)] + burst(now - 3_600)[:6]
    odd = [documents[5], documents[5] | {"title": "Acme opens a depot after all"}, '{"title": "Undated"}', "{no JSON"]
    lines = [*documents[:100], *odd, {"id": "blank", "title": "\u200b", "published": at(now - DAY)}, *documents[100:]]
    history = write(tmp_path / "history.jsonl", lines)
    table = tmp_path / "table.csv.gz"
    with gzip.open(table, "wt", newline="") as target:
        rows = csv.writer(target)
        rows.writerow(["headline", "ts", "source"])
        rows.writerows([f"Acme hosts a fair number {n}", at(now - 10 * DAY - n * DAY), "Table"] for n in range(8))
        rows.writerow(["Acme hosts a fair", "some day", "Table"])
    with Receiver() as hooks, Daemon(tmp_path / "d", ACME + hooks.channel("desk", "/desk")) as daemon:
        assert daemon.stop() == 0
        done = daemon.cli("backfill", str(history), str(table))
        assert done.returncode == 1, "lines were bad"
        assert json.loads(done.stdout) == {
            "accepted": 190 + 6 + 8,
            "revision": 1,
            "duplicate": 1,
            "empty": 1,
            "bad_lines": 3,
            "named": 190 + 6 + 8 + 1,
            "companies_named": 1,
            "companies_watched": 1,
            "by_key": {"entity:acme-corp": 190 + 6 + 8 + 1},
        }
        for place in ("history.jsonl, line 103", "history.jsonl, line 104", "table.csv.gz, line 10"):
            assert place in done.stderr
        again = daemon.cli("backfill", str(history), str(table))
        assert json.loads(again.stdout) == {
            "accepted": 0, "revision": 2, "duplicate": 190 + 6 + 8 - 1 + 1, "empty": 1, "bad_lines": 3,
            "named": 2, "companies_named": 1, "companies_watched": 1, "by_key": {"entity:acme-corp": 2},
        }  # fmt: skip
        daemon.start()
        wait_for(lambda: daemon.idle() and daemon.get("series?key=entity:acme-corp")["series"], "rest")
        assert daemon.get("alerts")["alerts"] == [] and daemon.get("deliveries")["deliveries"] == []
        keys = {key["key"]: key for key in daemon.get("keys")["keys"]}
        assert 18.5 * DAY < keys["entity:acme-corp"]["baseline_span"] < 20.5 * DAY
        metrics = request(f"{daemon.url}/metrics")[2].decode()
        assert "tapewatch_alert_firing{" not in metrics
        daemon.push(*({"title": title, "publisher": f"Wire {n}"} for n, title in enumerate(BAD_NEWS[6:])))
        fired = wait_for(lambda: hooks.at("/desk", "alert.firing"), "alert about what is fresh")
        assert daemon.stop() == 0
        older = write(tmp_path / "older.jsonl", [calm(400 + n, now - 30 * DAY + n * 0.1 * DAY) for n in range(20)])
        told = daemon.cli("backfill", str(older))
        assert "fill no baseline" in told.stderr and "before the first run" in told.stderr, told.stderr
        unusual = [hook.body["data"]["unusual"] for hook in fired]
        assert all(18.5 * DAY < one["baseline_span_seconds"] < 20.5 * DAY for one in unusual), unusual


def test_backfill_says_when_a_watch_list_catches_nothing(tmp_path: Path) -> None:
    lines = [
        {"title": f"Borealis {CALM[n % 5]} in district {n}", "published": at(time.time() - n * DAY)} for n in range(9)
    ]
    history = write(
        tmp_path / "history.jsonl", [*lines, {"title": "Acme gibt Zahlen bekannt", "published": at(1.79e9)}]
    )
    both = ACME.replace("entities = [", 'entities = [{ name = "Borealis Shipping", aliases = ["Borealis"] }, ')
    for settings, named, says in ((ACME, {}, "names a watched company"), (both, {"entity:borealis-shipping": 9}, "")):
        done = Daemon(tmp_path / str(len(named)), settings).cli("backfill", str(history))
        said = json.loads(done.stdout)
        assert (done.returncode, said["accepted"], said["named"], said["by_key"]) == (0, 10, 9 * len(named), named)
        assert (said["companies_named"], said["companies_watched"]) == (len(named), 1 + len(named))
        assert (says in done.stderr) and bool(says) == bool(done.stderr), done.stderr


async def test_dates_without_a_time_are_all_counted(tmp_path: Path) -> None:
    """They are spread over their days; whatever the chunks in which a file is taken in, none comes late."""

    def value(name: str) -> float:
        return REGISTRY.get_sample_value(name) or 0.0

    first = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    entries = [
        {
            "id": f"n{n}",
            "title": f"Acme {CALM[n % 5]} {n} {n * 7919 % 1000}",
            "published": at(first + n // 400 * DAY)[:10],
        }
        for n in range(2_400)
    ]
    (tmp_path / "tapewatch.toml").write_text(ACME)
    late = value("tapewatch_late_evidence_total")
    daemon = Inner(load(tmp_path / "tapewatch.toml", {}), classifier=FakeClassifier())
    await daemon.open()
    try:
        outcome, bad = await daemon.intake.backfill([write(tmp_path / "days.jsonl", entries)])
    finally:
        await daemon.stop()
    assert outcome.accepted == 2_400 and bad.count == 0
    assert value("tapewatch_late_evidence_total") == late


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """A month of calm with a burst on its twentieth day, and what happened, as CSV."""
    folder = tmp_path_factory.mktemp("tape")
    start = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    crisis = start + 20 * DAY + 36_000
    documents = [calm(n, start + n * 0.1 * DAY) for n in range(250)] + burst(crisis)
    odd = [documents[7], documents[7] | {"title": "Acme paints its cranes anew"}, '{"title": "Undated"}']
    write(folder / "tape.jsonl", [*documents[:8], *odd, *documents[8:]])
    (folder / "events.csv").write_text(
        "entity,onset_date,what\nAcme Corp,2026-03-21,a crisis\nAcme Corp,2026-03-05,something nobody wrote of\n"
    )
    return folder / "tape.jsonl", folder / "events.csv", crisis


def replay(folder: Path, tape: Path, *options: str, line: int = 11) -> tuple[dict, list[dict]]:
    done = Daemon(folder, ACME).cli("replay", str(tape), "--out", str(folder / "out"), *options)
    assert done.returncode == 0, done.stderr
    assert f"tape.jsonl, line {line}" in done.stderr
    summary = json.loads((folder / "out" / "summary.json").read_text())
    brief = json.loads(done.stdout)
    assert brief == {name: summary[name] for name in brief}
    return summary, [json.loads(line) for line in (folder / "out" / "alerts.jsonl").read_text().splitlines()]


def test_replay_says_what_would_have_rung(tmp_path: Path, tape: tuple[Path, Path, float]) -> None:
    path, events, crisis = tape
    summary, alerts = replay(tmp_path, path, "--events", str(events))
    assert summary["documents"] == summary["scored"] == 250 + 14 + 1
    assert (summary["accepted"], summary["duplicate"], summary["revision"]) == (250 + 14, 1, 1)
    assert (summary["bad_lines"], summary["dead_letters"]) == (1, 0)
    firing = [alert for alert in alerts if alert["type"] == "alert.firing"]
    keys = [alert["data"]["subject"]["key"] for alert in firing]
    assert "entity:acme-corp" in keys and summary["alerts"] == len(firing) == sum(summary["by_key"].values())
    assert summary["by_key"] == {key: keys.count(key) for key in keys}
    opened = [datetime.fromisoformat(alert["timestamp"]).timestamp() for alert in firing]
    assert all(crisis <= moment <= crisis + 3_600 for moment in opened), "it rang elsewhere than in the crisis"
    assert len([a for a in alerts if a["type"] == "alert.resolved"]) == len(firing)
    assert (summary["events_known"], summary["events_found"], summary["recall"]) == (2, 1, 0.5)
    assert summary["precision_lower_bound"] == 1.0
    found = [event for event in summary["events"] if event["rang"]]
    assert [event["what"] for event in found] == ["a crisis"] and 0.4 <= found[0]["delay_days"] <= 0.5
    assert summary["months"] == pytest.approx((249 * 0.1) / 30.4, abs=0.01)
    assert summary["entity_alerts_per_key_month"] == pytest.approx(
        summary["entity_alerts"] / summary["entity_keys"] / ((249 * 0.1) / 30.4), rel=0.02
    )


def test_replay_of_a_part_counts_that_part(tmp_path: Path, tape: tuple[Path, Path, float]) -> None:
    path, _, _ = tape
    summary, alerts = replay(tmp_path, path, "--to", "2026-03-11")
    assert summary["documents"] == summary["scored"] == summary["accepted"] + summary["revision"] == 101 + 1
    assert alerts == [] and summary["alerts"] == 0
    assert summary["to"] <= "2026-03-11T00:00:00.000Z"


def test_replay_goes_by_time_and_by_the_class_that_is_asked_for(tmp_path: Path, tape: tuple[Path, Path, float]) -> None:
    """Posts, in any order of the file, ring as news where that is asked for; as posts they ring later."""
    lines = {line["id"]: line for line in map(json.loads, tape[0].read_text().splitlines()) if "published" in line}
    documents = [line | {"class": "social"} for line in lines.values()]
    found = []
    for name, turn in (("as it is", 1), ("turned", -1)):
        (tmp_path / name).mkdir()
        path = write(tmp_path / name / "tape.jsonl", ['{"title": "Undated"}', *documents[::turn]])
        alerts = replay(tmp_path / name, path, "--class", "news", line=1)[1]
        found.append([(alert["type"], alert["timestamp"], alert["data"]["subject"]["key"]) for alert in alerts])
    assert found[0] == found[1] and "alert.firing" in {alert[0] for alert in found[0]}
    posts = replay(tmp_path / name, path, line=1)[1]
    assert min(one["timestamp"] for one in posts) > min(alert[1] for alert in found[0])


MEASURED = """
import re, sys
from pathlib import Path
from models.classifier import FakeClassifier
from monitor.assembly import assemble
from monitor.replay.player import Player
from monitor.history import BadLines, history
from monitor.settings import load
from pipelines.sources import order
from pipelines.sources.base import RawItem
order.RUN_BYTES = 2**20
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
settings, model = load(Path(sys.argv[1]), {}), FakeClassifier()
player = Player(settings, assemble(settings, model.topics, model.risks), model, None)
list(player.documents([RawItem(title="Acme opens a depot", fetched=0.0, published=1e9)], None, None))
before = peak()
times = [one.at for one in player.documents(history([sys.argv[2]], 2e9, BadLines(), source="replay"), None, None)]
assert times == sorted(times)
print(len(times), peak() - before)
"""
"""Reads documents as replay does; prints how many, and what memory they needed, in MiB."""


def test_documents_of_any_number_are_replayed_in_bounded_memory(tmp_path: Path) -> None:
    """60 MB of words, with runs of 1 MiB: what is held is a few of them."""
    (tmp_path / "tapewatch.toml").write_text(ACME)
    body = "The company said that its new site is open. " * 90
    path = tmp_path / "long.jsonl"
    with path.open("w") as target:
        for n in range(15_000):
            when = at(1.7e9 + n * 7_919 % 15_000 * 600)
            target.write(json.dumps({"title": f"Acme opens depot {n}", "text": body, "published": when}) + "\n")
    arguments = [sys.executable, "-c", MEASURED, str(tmp_path / "tapewatch.toml"), str(path)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, grown = (int(word) for word in done.stdout.split())
    print(f"\n{count} documents, {path.stat().st_size >> 20} MiB: {grown} MiB")
    assert count == 15_000 and grown < 30


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.csv", None, "missing.csv"),
        ("columns.csv", "company,onset\nAcme,2026-03-21\n", "entity"),
        ("dates.csv", "entity,onset\nAcme,some day\n", "line 2"),
    ],
)
def test_events_that_can_not_be_read_are_told_before_the_work(
    tmp_path: Path, tape: tuple[Path, Path, float], name: str, content: str | None, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    out = tmp_path / "out"
    done = Daemon(tmp_path / "d", ACME).cli("replay", str(tape[0]), "--out", str(out), "--events", str(tmp_path / name))
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--budget", "0"), "at most 30"),
        (("--budget", "nan"), "at most 30"),
        (("--budget", "inf"), "at most 30"),
        (("--out", "tape.jsonl"), "name a folder that can be made"),
    ],
)
def test_what_replay_can_not_do_is_told_with_the_remedy(
    tmp_path: Path, tape: tuple[Path, Path, float], options: tuple[str, str], says: str
) -> None:
    name, value = options
    given = (name, str(tape[0])) if name == "--out" else ("--out", str(tmp_path / "out"), name, value)
    done = Daemon(tmp_path / "d", ACME).cli("replay", str(tape[0]), *given)
    assert done.returncode == 2 and says in " ".join(done.stderr.split()) and "Traceback" not in done.stderr

"""The topics in the hands of any Kafka tool: kcat reads what tapewatch writes, and writes what it reads."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

from pipelines.streams.base import WATERMARK
from tests.daemon_bench import ACME, Daemon, Receiver, wait_for
from tests.debian import need
from tests.kafka_fleet import PARTS, PATIENCE, Fleet

DOCUMENT = {
    "id": "stranger-1",
    "source": "house",
    "class": "news",
    "title": "Acme opens a small museum by the quay",
    "language": "en",
    "published": "2026-01-01T00:00:00.000Z",
    "fetched": "2026-01-01T00:00:00.000Z",
    "at": "2026-01-01T00:00:00.000Z",
}
BROKEN = b'{"id": "stranger-2", "source": "house", "class": "rumour"}'


def read(fleet: Fleet, topic: str) -> list[tuple[str, Any]]:
    """Key and value of everything in a topic."""
    place = ["-b", fleet.address, "-t", fleet.prefix + topic, "-o", "beginning"]
    # Where watermarks come four times a second, a fetch that waits for more never sees the end.
    until_end = ["-e", "-X", "fetch.wait.max.ms=10"]
    command = ["kcat", "-C", "-q", *place, *until_end, "-f", r"%k\t%s\n"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    pairs = (line.split("\t", 1) for line in done.stdout.splitlines())
    return [(key, json.loads(value)) for key, value in pairs]


def write(fleet: Fleet, topic: str, key: str, value: bytes) -> None:
    command = ["kcat", "-P", "-b", fleet.address, "-t", fleet.prefix + topic, "-k", key, "-X", "acks=all"]
    done = subprocess.run(command, input=value, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_kcat_reads_every_stage_and_writes_documents(tmp_path: Path, kafka: str) -> None:
    need("kcat")
    whole = ",".join(PARTS)
    with Receiver() as hooks:
        settings = ACME + hooks.channel("desk", "/desk") + '[detection]\nmin_open = "1s"\n'
        with Fleet(tmp_path, kafka, settings, parts=(whole,)) as fleet:
            daemon = fleet[whole]
            write(fleet, "documents", "stranger-1", json.dumps(DOCUMENT).encode())
            write(fleet, "documents", "stranger-2", BROKEN)
            daemon.ring()
            wait_for(lambda: daemon.seen(DOCUMENT["title"]), "the stranger's document", PATIENCE)
            wait_for(lambda: hooks.at("/desk", "alert.firing"), "alert", PATIENCE)
            _topics(fleet)
            _dead_letters(fleet, daemon)


def _topics(fleet: Fleet) -> None:
    documents = read(fleet, "documents")
    assert sum(key == WATERMARK for key, _ in documents) > 1
    assert dict(documents)["stranger-2"] == json.loads(BROKEN)
    texts = {key: value for key, value in documents if key not in (WATERMARK, "stranger-2")}
    assert len(texts) == 15
    assert all(key == value["id"] for key, value in texts.items())
    scores = dict(read(fleet, "scores"))
    assert set(scores) == set(texts)
    judged = scores["stranger-1"]
    assert judged["title"] == DOCUMENT["title"] and judged["sentiment"]["label"] in ("negative", "neutral", "positive")
    assert [entity["id"] for entity in judged["entities"]] == ["acme-corp"]
    alerts = read(fleet, "alerts")
    assert {value["type"] for _, value in alerts} >= {"alert.firing"}
    assert all(value["body"]["data"]["subject"]["key"] == value["key"] for _, value in alerts if value["alert"])
    print(f"kcat read {len(texts)} documents, {len(scores)} scores, {len(alerts)} alert events")


def _dead_letters(fleet: Fleet, daemon: Daemon) -> None:
    """What does not fit, with its reason and bytes: by kcat and by the operators' commands."""
    letters = wait_for(lambda: read(fleet, "dead-letters"), "dead letter", PATIENCE)
    [(key, letter)] = letters
    assert (key, letter["reason"], letter["stage"], letter["topic"]) == (
        "stranger-2",
        "undecodable",
        "score",
        "documents",
    )
    assert base64.b64decode(letter["payload"]) == BROKEN
    assert "rumour" in letter["detail"]
    [listed] = wait_for(lambda: daemon.lines("dead-letters", "list"), "dead letter in the list", PATIENCE)
    shown = daemon.cli("dead-letters", "show", str(listed["number"]))
    assert shown.returncode == 0 and BROKEN.decode() in shown.stdout
    assert daemon.cli("dead-letters", "retry", str(listed["number"])).returncode == 0
    again = wait_for(
        lambda: (found := daemon.lines("dead-letters", "list")) and found[0]["number"] != listed["number"] and found,
        "the letter that was retried",
        PATIENCE,
    )
    assert [one["id"] for one in again] == ["stranger-2"]
    assert [base64.b64decode(value["payload"]) for _, value in read(fleet, "dead-letters")] == [BROKEN, BROKEN]

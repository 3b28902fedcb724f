"""The main job with every stage as its own process on a real Kafka; other producers; operators' commands."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from kafka import KafkaProducer

from models.card import folder_of
from models.registry import Registry
from pipelines.streams.base import WATERMARK
from tests.daemon_bench import ACME, Daemon, Receiver, request, wait_for
from tests.kafka_fleet import PATIENCE, Fleet


def test_from_a_post_to_a_webhook_over_five_processes(tmp_path: Path, kafka: str) -> None:
    with Receiver() as hooks:
        settings = ACME + hooks.channel("desk", "/desk") + '[detection]\nmin_open = "1s"\n'
        settings += '[model]\nregistry = "../models"\n[alerts]\nexplain_within = "5s"\n'
        with Fleet(tmp_path, kafka, settings) as fleet:
            ingest, view = fleet["ingest"], fleet["view"]
            ingest.ring()
            firing = wait_for(lambda: hooks.at("/desk", "alert.firing"), "alert", PATIENCE)
            assert {hook.body["type"] for hook in firing} == {"alert.firing"}
            stories = [story for hook in firing for story in hook.body["data"]["evidence"]["stories"]]
            assert any(story["why"] for story in stories), "notify has no model to explain its alerts with"

            keys = {hook.body["data"]["subject"]["key"] for hook in firing}
            wait_for(
                lambda: keys <= {one["key"] for one in view.get("alerts")["alerts"]}, "alerts on the page", PATIENCE
            )
            assert len(view.get("documents?limit=100")["documents"]) == 14
            wait_for(
                lambda: (
                    {hook.id for hook in hooks.at("/desk")}
                    <= {one["event"] for one in view.get("deliveries?state=delivered")["deliveries"]}
                ),
                "deliveries that are settled",
                PATIENCE,
            )
            assert ingest.get("status")["parts"] == ["ingest"] and ingest.get("status")["engine"] == "kafka"

            for stage in ("score", "aggregate"):
                assert fleet[stage].metric("tapewatch_stage_partitions", stage=stage) == 2
                wait_for(lambda stage=stage: _commits(fleet, stage), f"offsets that {stage} commits", PATIENCE)

            assert fleet["score"].metric("tapewatch_model_info", device="none") == 0
            assert ingest.metric("tapewatch_model_info", device="none") == 1
            second = fleet.daemons["second"] = fleet.daemon("second", "notify")
            second.start(ready=False)
            _strangers(fleet)
            _operators(fleet)
            ended = _standby(fleet["notify"], second)
            fleet.daemons = {part: daemon for part, daemon in fleet.daemons.items() if daemon is not ended}
            _another_model(fleet, tmp_path / "models")
            print(f"14 documents posted, {len(firing)} alerts fired over {len(fleet.daemons)} processes")
            for part, daemon in fleet.daemons.items():
                assert daemon.stop(signal.SIGTERM) == 0, (part, daemon.log()[-2000:])


def _commits(fleet: Fleet, stage: str) -> bool:
    """Whether the age of what is not committed is measured, and small."""
    text = request(f"{fleet[stage].url}/metrics")[2].decode()
    known = f'tapewatch_commit_age_seconds{{stage="{stage}"}}' in text
    return known and fleet[stage].metric("tapewatch_commit_age_seconds", stage=stage) < 30


def _strangers(fleet: Fleet) -> None:
    """Other producers write documents too: what fits is scored, what does not is a dead letter with its bytes."""
    document = {
        "id": "stranger-1",
        "source": "desk",
        "class": "news",
        "title": "Acme opens a small museum",
        "language": "en",
        "published": "2026-01-01T00:00:00.000Z",
        "fetched": "2026-01-01T00:00:00.000Z",
        "at": "2026-01-01T00:00:00.000Z",
        "unknown": "is ignored",
    }
    producer = KafkaProducer(bootstrap_servers=fleet.address)
    topic = fleet.prefix + "documents"
    producer.send(topic, key=b"stranger-1", value=json.dumps(document).encode())
    producer.send(topic, key=b"stranger-2", value=b"no JSON")
    producer.send(topic, key=b"stranger-3", value=json.dumps(document | {"schema": 99}).encode())
    producer.send(topic, key=b"stranger-4", value=None)
    producer.send(
        topic, key=b"stranger-5", value=json.dumps(document | {"published": "2026-13-41T25:00:00.000Z"}).encode()
    )
    # What would be believed of time: all that comes until then would be late.
    producer.send(topic, key=b"stranger-6", value=json.dumps(document | {"at": "2099-01-01T00:00:00.000Z"}).encode())
    for at in ("2099-01-01T00:00:00.000Z", "2026-99-99T99:99:99.000Z", "soon"):
        producer.send(topic, key=WATERMARK.encode(), value=json.dumps({"at": at}).encode(), partition=0)
    producer.flush()
    producer.close()
    view = fleet["view"]
    wait_for(lambda: view.seen("Acme opens a small museum"), "the stranger's document", PATIENCE)
    letters = wait_for(
        lambda: len(found := view.get("dead-letters")["dead_letters"]) == 8 and found, "dead letters", PATIENCE
    )
    assert {one["id"] for one in letters} == {WATERMARK, *(f"stranger-{number}" for number in range(2, 7))}
    assert {one["id"] for one in letters if one["reason"] == "unknown_schema"} == {"stranger-3"}
    assert {one["stage"] for one in letters} == {"score"}
    for what in ("'2026-13-41T25:00:00.000Z' is no time", "2099-01-01T00:00:00.000Z is more than 2 h ahead"):
        assert any(what in one["detail"] for one in letters), what


def _operators(fleet: Fleet) -> None:
    """The commands of operators, through the process that serves the page."""
    view = fleet["view"]
    number = view.lines("dead-letters", "list")[0]["number"]
    assert json.loads(view.cli("dead-letters", "show", str(number)).stdout.splitlines()[0])["number"] == number
    assert view.cli("dead-letters", "retry", str(number)).returncode == 0
    # Its bytes are no better than before: it comes back under another number.
    wait_for(
        lambda: (
            number not in {one["number"] for one in view.lines("dead-letters", "list")}
            and len(view.lines("dead-letters", "list")) == 8
        ),
        "the letter that was retried",
        PATIENCE,
    )
    assert view.cli("silences", "add", "--until", "2099-01-01T00:00:00Z", "--key", "market").returncode == 0
    wait_for(lambda: view.lines("silences", "list"), "silence", PATIENCE)
    alert = view.get("alerts")["alerts"][0]["alert"]
    assert view.cli("feedback", "add", alert, "false", "--note", "reprints", "--by", "Ada").returncode == 0
    (judged,) = wait_for(lambda: view.lines("feedback", "list"), "verdict", PATIENCE)
    assert (judged["alert"], judged["verdict"], judged["note"], judged["by"]) == (alert, "false", "reprints", "Ada")
    wait_for(lambda: fleet["notify"].metric("tapewatch_verdicts_total", verdict="false") == 1, "its count", PATIENCE)
    assert view.cli("feedback", "report").stdout.startswith("all alerts: 1 of ")
    checked = view.cli("kafka", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    refused = fleet["ingest"].cli("deliveries", "list")
    assert refused.returncode == 1 and "ask the one that runs view" in refused.stderr


def _standby(first: Daemon, second: Daemon) -> Daemon:
    """Of two notify processes one works; the other is ready, says why it does nothing, and takes over. Returns the one
    that was ended for it."""
    wait_for(lambda: second._is_ready() and first._is_ready(), "readiness of both", PATIENCE)
    works, waits = (first, second) if first.get("status")["stands_by"] == [] else (second, first)
    assert request(f"{works.url}/readyz")[2] == b"ok\n"
    assert request(f"{waits.url}/readyz")[2].startswith(b"ok; notify: others have all of it")
    assert waits.get("status")["stands_by"] == ["notify"]
    for daemon, partitions in ((works, 1), (waits, 0)):
        assert daemon.metric("tapewatch_ready") == 1
        assert daemon.metric("tapewatch_stage_partitions", stage="notify") == partitions
        assert daemon.metric("tapewatch_stage_input_partitions", stage="notify") == 1
        assert daemon.metric("tapewatch_stage_input_partitions", stage="score") == 2
    assert works.stop(signal.SIGTERM) == 0
    wait_for(lambda: request(f"{waits.url}/readyz")[2] == b"ok\n", "the one that takes over", PATIENCE)
    return works


def _another_model(fleet: Fleet, registry: Path) -> None:
    """One process judges with it at once; another, of the same registry, takes it from there at a reload."""
    twin = Registry(registry).add(folder_of("default"), "twin").model
    done = fleet["score"].cli("models", "use", "twin")
    assert done.returncode == 0, done.stderr
    fleet["ingest"].push({"id": "judged-by-twin", "title": "Acme opens a large museum"})
    wait_for(lambda: fleet["view"].seen("Acme opens a large museum"), "document", PATIENCE)
    judged = {one["title"]: one["model"] for one in (json.loads(record.value) for record in fleet.records("scores"))}
    assert judged["Acme opens a large museum"] == twin != judged["Acme opens a small museum"]
    aggregate = fleet["aggregate"]
    assert aggregate.get("status")["model"] != twin
    aggregate.send(signal.SIGHUP)
    wait_for(lambda: aggregate.get("status")["model"] == twin, "reload", PATIENCE)
    assert aggregate.metric("tapewatch_model_info", device="none", model=twin) == 1

"""Documents from a topic of the user's own, in a format of its own, on a real Kafka."""

from __future__ import annotations

import random
import signal
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_bench import ACME, BAD_NEWS, Daemon, Receiver, wait_for
from tests.kafka_cluster import Cluster
from tests.kafka_fleet import PATIENCE
from tests.kafka_topic import Topic, make_topic

KILLS = 4
WORDS = "ledger bridge harbour turbine orders lawyers margins bonds suppliers dealers quay dock crane mill".split()


def article(title: str, number: int, **changes: Any) -> dict[str, Any]:
    """As another house's newsroom writes it."""
    body = {"plain": f"{title}. Reported from the {WORDS[number % len(WORDS)]}.", "html": "<p>not asked for</p>"}
    meta = {"ts": int(time.time() * 1_000), "desk": "wire"}
    return {"uuid": f"a-{number}", "headline": title, "body": body, "meta": meta, "outlet": f"Paper {number}"} | changes


def source(topic: Topic, *more: str, start: str = "earliest") -> str:
    brokers = ", ".join(f'"{broker}"' for broker in topic.address.split(","))
    mapping = '{ id = "uuid", title = "headline", text = "body.plain", published = "meta.ts", publisher = "outlet" }'
    keys = [f"brokers = [{brokers}]", f'topic = "{topic.name}"', f"fields = {mapping}", f'start = "{start}"', *more]
    return '[[sources]]\nkind = "kafka"\nname = "house"\n' + "".join(f"{key}\n" for key in keys)


def engine(kind: str, address: str) -> str:
    if kind == "embedded":
        return ""
    prefix = f"t{uuid.uuid4().hex[:10]}."
    keys = f'brokers = ["{address}"]\nreplication = 1\npartitions = 2\ntopic_prefix = "{prefix}"\ngroup_prefix = "{prefix}"\n'
    return f'[engine]\nkind = "kafka"\n[engine.kafka]\n{keys}'


def topic_of(address: str, partitions: int = 2) -> Topic:
    name = f"newsroom.{uuid.uuid4().hex[:8]}"
    make_topic(address, name, partitions)
    return Topic(address, name)


def house(daemon: Daemon) -> dict[str, Any]:
    found: list[dict[str, Any]] = daemon.get("sources")["sources"]
    return next((one for one in found if one["source"] == "house"), {})


def counted(daemon: Daemon) -> int:
    """Documents in the series of the watched company."""
    return sum(point["documents"] for point in daemon.get("series?key=entity:acme-corp")["series"])


@pytest.mark.parametrize("kind", ["embedded", "kafka"])
def test_a_crisis_in_a_foreign_format_is_counted_once_however_often_the_daemon_is_killed(
    tmp_path: Path, kafka: str, kind: str
) -> None:
    rng, topic = random.Random(7), topic_of(kafka)
    with Receiver() as hooks:
        settings = engine(kind, kafka) + ACME + source(topic) + hooks.channel("desk", "/desk")
        daemon = Daemon(tmp_path / "daemon", settings + '[detection]\nmin_open = "1s"\n')
        if kind == "kafka":
            assert daemon.cli("kafka", "init").returncode == 0
        written = interrupted = 0
        with daemon:
            for kill in range(KILLS + 1):
                share = BAD_NEWS[kill * 3 : kill * 3 + 3] if kill < KILLS else BAD_NEWS[KILLS * 3 :]
                topic.write(*(article(title, written + n) for n, title in enumerate(share)))
                written += len(share)
                topic.write(*(article(f"Weather of day {kill}-{n}", 1_000 * (kill + 1) + n) for n in range(100)))
                written_quiet = 100 * (kill + 1)
                if kill < KILLS:
                    time.sleep(rng.random() * 1.5)  # the moment of the kill is what varies
                    before = daemon.metric("tapewatch_documents_total", source="house", outcome="accepted")
                    interrupted += before < written + written_quiet
                    daemon.process.kill()
                    daemon.process.wait()
                    daemon.start(ready=False)
                    wait_for(daemon._is_ready, "readiness", PATIENCE)
            wait_for(lambda: daemon.seen(BAD_NEWS[-1]) and daemon.idle(), "the last article", PATIENCE)
            total = written + written_quiet
            titles = wait_for(lambda: _titles(daemon, total), f"{total} documents", PATIENCE)
            assert len(titles) == len(set(titles)) == total
            assert wait_for(lambda: counted(daemon) == len(BAD_NEWS), f"{len(BAD_NEWS)} counted", PATIENCE)
            firing = wait_for(lambda: hooks.at("/desk", "alert.firing"), "alert", PATIENCE)
            rung: dict[str, set[bytes]] = {}
            for hook in firing:
                rung.setdefault(hook.id, set()).add(hook.raw)
            assert {len(bodies) for bodies in rung.values()} == {1}, "one webhook-id, one body"
            episodes = {hook.body["data"]["episode"]["id"] for hook in firing}
            assert len(episodes) == len(rung), "an episode rang under two ids"
            assert house(daemon)["state"] == "up"
        print(f"{total} articles, {KILLS} kills ({interrupted} with articles unread), {len(rung)} alerts")
        assert interrupted


def _titles(daemon: Daemon, least: int) -> list[str]:
    found = [one["title"] for one in daemon.get("documents?limit=1000")["documents"] if one["source"] == "house"]
    return found if len(found) >= least else []


def test_brokers_that_hang_or_are_gone_are_said_and_nothing_of_the_others_waits(
    tmp_path: Path, own_kafka: Cluster
) -> None:
    topic = topic_of(own_kafka.address)
    with Daemon(tmp_path / "daemon", ACME + source(topic, start="latest")) as daemon:
        wait_for(lambda: house(daemon).get("last_success"), "first look", PATIENCE)
        topic.write(article("Acme is read", 1), b"no JSON")
        wait_for(lambda: daemon.seen("Acme is read"), "article", PATIENCE)
        wait_for(lambda: daemon.metric("tapewatch_documents_total", source="house", outcome="invalid") == 1, "count")
        [bad] = daemon.logged("bad_line")
        assert f"{topic.name}[" in bad["reason"] and "correct fields" in bad["reason"]
        for fault in (signal.SIGSTOP, signal.SIGKILL):
            own_kafka.nodes[0].signal(fault)
            down = wait_for(lambda: house(daemon).get("state") == "down" and house(daemon), f"end by {fault}", PATIENCE)
            assert down["reason"] and own_kafka.address in down["reason"]
            daemon.push({"title": f"Pushed while {fault.name}"})
            wait_for(lambda: daemon.seen(f"Pushed while {fault.name}"), "document of another source", PATIENCE)
            own_kafka.nodes[0].signal(signal.SIGCONT)
            own_kafka.start()
            topic.write(article(f"Acme after {fault.name}", int(fault)))
            wait_for(lambda: daemon.seen(f"Acme after {fault.name}"), "article after it", PATIENCE)
            wait_for(lambda: house(daemon)["state"] == "up", "recovery", PATIENCE)
        assert daemon.metric("tapewatch_documents_total", source="house", outcome="accepted") == 3
        print("hung and killed brokers: 2 injected, 2 told, 3 of 3 articles once")

"""kill -9 of each stage's process while documents are posted, on a real Kafka: nothing lost, nothing doubled by id."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.daemon_bench import ACME, Receiver, request, wait_for
from tests.kafka_fleet import PARTS, PATIENCE, Fleet

WORDS = "ledger bridge harbour turbine orders lawyers margins bonds suppliers dealers".split()
BAD = (
    "plunge after warning",
    "slump on weak demand",
    "fall as losses widen",
    "sink on default fears",
    "tumble after probe",
)
BATCH = 5
ROUNDS = int(os.environ.get("TAPEWATCH_TEST_ROUNDS", "1"))
"""How often each process is killed: one round takes about a minute."""


def story(number: int) -> dict[str, str]:
    rng = random.Random(number)
    first, second = rng.sample(WORDS, 2)
    title = f"Acme {first} {second} {rng.choice(BAD)} {number}"
    return {"id": f"d{number}", "title": title, "publisher": f"p{number % 5}"}


class Poster(threading.Thread):
    """Posts stories until it is told to stop; what is not acknowledged is posted again."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.acknowledged: list[str] = []
        self.retried = 0
        self.ended = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.ended.is_set():
            stories = [story(number + place) for place in range(BATCH)]
            body = "\n".join(json.dumps(one) for one in stories).encode()
            while True:
                try:
                    status = request(f"{self.url}/api/v1/documents", body)[0]
                except OSError:
                    status = 0
                if status == 202:
                    break
                self.retried += 1
                time.sleep(0.1)
            self.acknowledged.extend(one["id"] for one in stories)
            number += BATCH
            time.sleep(0.15)


def test_kill_nine_of_each_stage_loses_and_doubles_nothing(
    tmp_path: Path, kafka: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kills: Counter[str] = Counter()
    with Receiver() as hooks:
        settings = ACME + hooks.channel("desk", "/desk") + '[detection]\nmin_open = "1s"\n'
        with Fleet(tmp_path, kafka, settings) as fleet:
            poster = Poster(fleet["ingest"].url)
            poster.start()
            for part in PARTS * ROUNDS:
                daemon, before = fleet[part], len(poster.acknowledged)
                wait_for(lambda: len(poster.acknowledged) > before + 20, "documents under way", PATIENCE)
                daemon.stop(signal.SIGKILL)
                kills[part] += 1
                time.sleep(0.5)  # the others work on without it
                daemon.start(ready=False)
                wait_for(daemon._is_ready, f"readiness of {part}", PATIENCE)
            poster.ended.set()
            poster.join(PATIENCE)

            # Without faults again: a fresh document goes all the way, and nothing is owed.
            fleet["ingest"].push({"id": "fresh", "title": "Acme opens a small museum"})
            view = fleet["view"]
            wait_for(lambda: view.seen("Acme opens a small museum"), "the fresh document", PATIENCE)
            posted = {"Acme opens a small museum"} | {story(int(name[1:]))["title"] for name in poster.acknowledged}
            wait_for(lambda: counted(view, "entity:acme-corp") == len(posted), "counts of an undisturbed run", PATIENCE)
            wait_for(lambda: not any(fleet["notify"].get("status")["outbox"].values()), "an empty outbox", PATIENCE)
            wait_for(lambda: not view.get("deliveries?state=pending")["deliveries"], "settled deliveries", PATIENCE)

            documents = [json.loads(record.value) for record in fleet.records("documents")]
            scores = [json.loads(record.value)["id"] for record in fleet.records("scores")]
            alerts = [json.loads(record.value) for record in fleet.records("alerts")]
            letters = fleet.records("dead-letters")
    bodies = Counter((hook.id, hook.raw) for hook in hooks.at("/desk"))
    ids = {document["id"] for document in documents}
    with capsys.disabled():
        print(
            f"\nkills {dict(kills)}, posts retried {poster.retried}, acknowledged {len(poster.acknowledged)}, "
            f"documents {len(documents)} ({len(ids)} ids), scores {len(scores)}, alert records {len(alerts)} "
            f"({len({one['id'] for one in alerts})} ids), webhooks {bodies.total()} ({len(bodies)} ids)"
        )
    assert set(kills) == set(PARTS) and poster.retried > 0
    assert {document["title"] for document in documents} >= posted
    assert set(scores) == ids and not letters, "an accepted document is neither in scores nor in dead letters"
    assert len({name for name, _ in bodies}) == len(bodies), "one id came with two bodies"
    owed = {one["id"] for one in alerts if "desk" in one["channels"]}
    assert owed and {name for name, _ in bodies} == owed


def counted(view: object, key: str) -> int:
    """Documents that a key has counted, by the blocks that the page shows."""
    return sum(point["documents"] for point in view.get(f"series?key={key}")["series"])

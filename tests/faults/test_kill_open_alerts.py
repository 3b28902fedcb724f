"""kill -9 of what keeps alerts, while a flash and a burst that holds others are open: on the embedded engine the daemon,
on a real Kafka the processes of aggregate and notify."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_bench import ACME, Daemon, Receiver, wait_for
from tests.kafka_fleet import PATIENCE, Fleet

RULE = """
[[rules]]
kind = "flash"
name = "bribes"
phrases = ["bribe", "bribery"]
probability = 0.5
within = "45s"
cooldown = "45s"
"""
STORIES = (
    "Acme chief is arrested over bribery of harbour officials",
    "Prosecutors charge Acme treasurer with bribery, shares crash",
    "Acme convicted of bribery in turbine scandal",
    "Police raid Acme offices as bribery scandal widens",
    "Acme fined for bribery of ministers",
)


@contextmanager
def embedded(folder: Path, settings: str, request: pytest.FixtureRequest) -> Iterator[list[Daemon]]:
    with Daemon(folder / "d", settings) as daemon:
        yield [daemon, daemon, daemon]


@contextmanager
def kafka(folder: Path, settings: str, request: pytest.FixtureRequest) -> Iterator[list[Daemon]]:
    with Fleet(folder, request.getfixturevalue("kafka"), settings) as fleet:
        yield [fleet["ingest"], fleet["view"], fleet["aggregate"], fleet["notify"]]


@pytest.mark.parametrize("engine", [embedded, kafka], ids=["embedded", "kafka"])
def test_open_alerts_outlive_a_kill(
    engine: Any, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    with Receiver() as hooks:
        settings = ACME + RULE + hooks.channel("desk", "/desk") + '[detection]\nmin_open = "1s"\n'
        with engine(tmp_path, settings, request) as (ingest, view, *keepers):

            def told(kind: str, type_: str) -> list[dict[str, Any]]:
                found = (hook.body["data"] for hook in hooks.at("/desk", type_))
                return [data for data in found if data["rule"]["kind"] == kind]

            def firing() -> Counter[tuple[str, str, str]]:
                return Counter(
                    (kind, data["subject"]["key"], data["episode"]["id"])
                    for kind in ("flash", "burst")
                    for data in told(kind, "alert.firing")
                )

            ingest.ring()
            ingest.push({"title": STORIES[0], "publisher": "Paper 20"})
            wait_for(lambda: told("flash", "alert.firing"), "flash", PATIENCE)
            wait_for(lambda: told("burst", "alert.firing"), "burst", PATIENCE)
            merged = wait_for(
                lambda: [one for one in view.get("alerts?merged=true")["alerts"] if one["merged_into"]],
                "bursts that are part of it",
                PATIENCE,
            )
            wait_for(
                lambda: all(one.idle() for one in {ingest.url: ingest, **{k.url: k for k in keepers}}.values()), "rest"
            )
            rang = firing()
            assert not told("flash", "alert.resolved"), "it was over already: the test proved nothing"
            for keeper in keepers:
                assert keeper.stop(signal.SIGKILL) == -signal.SIGKILL
            for keeper in keepers:
                keeper.start(ready=False)
            for keeper in keepers:
                wait_for(keeper._is_ready, "readiness", PATIENCE)
            for number, title in enumerate(STORIES[1:], 21):
                ingest.push({"title": title, "publisher": f"Paper {number}"})
            wait_for(lambda: told("flash", "alert.updated"), "update of the flash after the kill", PATIENCE)
            wait_for(lambda: told("flash", "alert.resolved"), "end of the flash", 2 * PATIENCE)
            records = view.get("alerts?merged=true")["alerts"]
    bodies = Counter((hook.id, hook.raw) for hook in hooks.at("/desk"))
    with capsys.disabled():
        print(
            f"\nalerts {len(records)}, of which merged {len(merged)} before, webhooks {bodies.total()}, ids {len(bodies)}"
        )
    assert len({name for name, _ in bodies}) == len(bodies), "one id came with two bodies"
    assert firing() == rang and set(rang.values()) == {1}, "an alert was told anew"
    assert len({data["episode"]["id"] for data in told("flash", "alert.")}) == 1
    assert {one["alert"] for one in merged} <= {one["alert"] for one in records if one["merged_into"]}

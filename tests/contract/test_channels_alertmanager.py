"""What an Alertmanager is posted, over real sockets; what a real one makes of it is in tests/integration."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from alerts.channels import AlertmanagerChannel, ChannelConfigError, build
from alerts.channels.alertmanager import AHEAD, OPERATION_LASTS, AlertmanagerOptions
from alerts.evidence import build_operation, ping
from alerts.wording import iso
from tests.alert_bench import FIRING, NOW, alert, exhibit
from tests.contract.channel_bench import Receiver, answering, client, receiver


@pytest.fixture
async def far() -> AsyncIterator[Receiver]:
    async with receiver() as one:
        yield one


def body(**changes: Any) -> bytes:
    return alert(msgspec.structs.replace(FIRING, **changes), external_url="https://tapewatch.example/").body


async def post(far: Receiver, *bodies: tuple[bytes, float], **options: Any) -> list[list[dict[str, Any]]]:
    """Every POST's alerts."""
    async with client() as http:
        channel = build("alertmanager", "am", {"url": f"http://127.0.0.1:{far.port}", **options}, http)
        for one, at in bodies:
            assert (await channel.send("event", one, at)).ok
    return [json.loads(request.body) for request in far.requests]


async def test_counts_are_no_labels_and_the_start_is_the_episodes(far: Receiver) -> None:
    later = {"kind": "updated", "sequence": 1, "at": NOW + 300, "observed": 40.0, "stories": 50, "score": 21.0}
    (first,), (second,) = await post(far, (body(), NOW + 1), (body(**later), NOW + 301), labels={"env": "prod"})
    assert first["labels"] == second["labels"]
    assert first["labels"]["env"] == "prod" and first["labels"]["severity"] == "error"
    assert not any(character.isdigit() for character in "".join(first["labels"].values()))
    assert first["startsAt"] == second["startsAt"] == iso(NOW)
    assert (first["annotations"]["stories"], second["annotations"]["stories"]) == ("14", "50")
    assert second["endsAt"] == iso(NOW + 301 + AHEAD * 60)
    assert first["generatorURL"].startswith("https://tapewatch.example/alerts/")


async def test_annotations_tell_the_events_and_no_label_does(far: Receiver) -> None:
    told = alert(exhibits=[exhibit(1, events=("recall", "fraud")), exhibit(2, events=("recall",))]).body
    (one,), (other,) = await post(far, (told, NOW + 1), (body(), NOW + 2))
    assert one["annotations"]["events"] == "recall (2), fraud (1)"
    assert "(wire, recall, fraud, https://wire.example/1)" in one["annotations"]["description"]
    assert "recall" not in json.dumps(one["labels"])
    assert "events" not in other["annotations"]


async def test_the_end_is_when_it_ended_however_often_it_is_told(far: Receiver) -> None:
    over = body(kind="resolved", sequence=2, at=NOW + 900, reason="quiet")
    posts = await post(far, (over, NOW + 901), (over, NOW + 960))
    assert [one["endsAt"] for (one,) in posts] == [iso(NOW + 900)] * 2
    assert posts[0][0]["annotations"]["reason"] == "quiet"


async def test_a_rise_ends_the_milder_alert_once_and_only_where_it_was_told(far: Receiver) -> None:
    worse = body(kind="updated", sequence=1, at=NOW + 60, severity="critical")
    posts = await post(far, (body(), NOW), (worse, NOW + 60), (worse, NOW + 120))
    assert [[one["labels"]["severity"] for one in alerts] for alerts in posts] == [
        ["error"], ["critical", "error"], ["critical"],
    ]  # fmt: skip
    assert posts[1][1]["endsAt"] == iso(NOW + 60)
    assert [[one["labels"]["severity"] for one in alerts] for alerts in await post(far, (worse, NOW + 60))][-1] == [
        "critical"
    ], "a channel that told nothing has nothing to end"


async def test_a_rise_that_was_not_taken_ends_the_milder_alert_at_the_next_try(far: Receiver) -> None:
    worse = body(kind="updated", sequence=1, at=NOW + 60, severity="critical")
    async with client() as http:
        channel = build("alertmanager", "am", {"url": f"http://127.0.0.1:{far.port}"}, http)
        assert (await channel.send("e", body(), NOW)).ok
        far.faults.append(answering(503))
        assert not (await channel.send("e", worse, NOW + 60)).ok
        assert (await channel.send("e", worse, NOW + 65)).ok
    assert far.injected == 1 and len(json.loads(far.requests[-1].body)) == 2


async def test_what_is_over_ends_its_trouble_and_other_operations_end_by_themselves(far: Receiver) -> None:
    def operation(kind: Any, severity: Any, at: float) -> tuple[bytes, float]:
        return build_operation(kind, at=at, subject="wire", summary_text="…", severity=severity).body, at

    stale, back, lag, drift, steady, test = await post(
        far,
        operation("ops.source_stale", "warning", NOW),
        operation("ops.source_recovered", "info", NOW + 70),
        operation("ops.pipeline_lag", "warning", NOW),
        operation("ops.model_drift", "info", NOW),
        operation("ops.model_drift_resolved", "info", NOW + 90),
        (ping("am", NOW).body, NOW),
    )
    assert stale[0]["labels"] == back[0]["labels"] and len(back) == 1
    assert stale[0]["labels"]["alertname"] == "TapewatchSourceStale"
    assert back[0]["endsAt"] == iso(NOW + 70)
    assert lag[0]["endsAt"] == iso(NOW + OPERATION_LASTS)
    assert drift[0]["labels"] == steady[0]["labels"] and drift[0]["labels"]["alertname"] == "TapewatchModelDrift"
    assert steady[0]["endsAt"] == iso(NOW + 90)
    assert test[0]["labels"]["alertname"] == "TapewatchPing" and test[0]["endsAt"] == iso(NOW + 60)


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({}, None),
        ({"secret": "token"}, "Bearer token"),
        ({"username": "desk", "secret": "pässword"}, "Basic " + base64.b64encode("desk:pässword".encode()).decode()),
    ],
)
async def test_it_signs_in_as_it_was_told(far: Receiver, options: dict[str, str], header: str | None) -> None:
    await post(far, (body(), NOW), **options)
    assert far.requests[0].headers.get("authorization") == header


@pytest.mark.parametrize("path", ["", "/", "/prefix", "/prefix/", "/prefix/api/v2/alerts"])
async def test_a_path_prefix_is_kept(far: Receiver, path: str) -> None:
    async with client() as http:
        channel = build("alertmanager", "am", {"url": f"http://127.0.0.1:{far.port}{path}"}, http)
        assert (await channel.send("e", body(), NOW)).ok
    assert far.requests[0].path == ("/prefix" if "prefix" in path else "") + "/api/v2/alerts"


async def test_gone_is_a_wrong_address_and_disables_nothing(far: Receiver) -> None:
    far.then = answering(410)
    async with client() as http:
        channel = build("alertmanager", "am", {"url": f"http://127.0.0.1:{far.port}"}, http)
        outcome = await channel.send("e", body(), NOW)
    assert (outcome.ok, outcome.reason, outcome.status, outcome.gone) == (False, "rejected", 410, False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "alertmanager:9093"}, "https://alertmanager.example:9093"),
        ({"url": "https://me:hunter2@am.example"}, "set username and secret"),
        ({"username": "desk"}, "secret: missing"),
        ({"resend": 3_600.0}, 'resend: 3600 s is not between "1s" and "5m"'),
        ({"labels": {"severity": "x"}}, "'severity' is one of tapewatch's own"),
        ({"labels": {"a-b": "x"}}, "'a-b' is no label's name"),
        ({"labels": {"__name": "x"}}, "'__name' is no label's name"),
        ({"secrets": ["x"]}, "secrets"),
    ],
)
def test_settings_that_can_not_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ChannelConfigError, match="channel 'am'") as refusal:
        build("alertmanager", "am", {"url": "https://am.example", **options}, NoHttp())
    assert said in str(refusal.value) and "hunter2" not in str(refusal.value)


def test_a_password_shows_nowhere() -> None:
    options = AlertmanagerOptions(url="https://am.example/private-path", username="desk", secret="hunter2")
    for shown in (repr(options), repr(AlertmanagerChannel("am", options, NoHttp()))):
        assert "hunter2" not in shown and "private-path" not in shown


class NoHttp:
    """A client that must not be needed."""

    async def post(self, url: str, *, body: bytes, headers: Any, deadline: float) -> Any:
        raise AssertionError(f"dialled {url}")

"""A real Alertmanager and the production daemon: an alert fires, repeats, survives a kill undoubled, rises, resolves."""

from __future__ import annotations

import json

from tests.monitoring.conftest import AHEAD, KEY, TITLES, Story


def test_it_fires_under_labels_that_are_its_identity(story: Story) -> None:
    labels, annotations = story.fired["labels"], story.fired["annotations"]
    assert labels == {
        "alertname": "TapewatchBurst", "rule": "burst", "key": KEY, "name": "Halvorne Motors", "severity": "warning",
        "watchlist": "cars", "environment": "test",
    }  # fmt: skip
    assert "Halvorne Motors" in annotations["summary"] and int(annotations["stories"]) >= 2
    assert any(title in annotations["description"] for title in TITLES[:8])
    assert story.fired["generatorURL"] == f"https://tapewatch.example/alerts/{annotations['episode_id']}"
    assert story.fired["status"]["state"] == "active"


def test_amtool_shows_it(story: Story) -> None:
    assert f'key="{KEY}"' in story.amtool and "TapewatchBurst" in story.amtool and "active" in story.amtool
    assert KEY not in story.amtool_at_the_end
    assert "Test of channel am" in story.test


def test_it_is_told_again_before_it_would_end(story: Story) -> None:
    (first, start), (last, end) = story.held[0], story.held[-1]
    print(f"held for {last - first:.1f} s with an end {AHEAD:.0f} s ahead, told again {story.told_again:.0f} times")
    assert last - first > AHEAD, "it was not watched for long enough to prove that it was told again"
    assert end["endsAt"] > start["endsAt"]
    assert {alert["fingerprint"] for _, alert in story.held} == {story.fired["fingerprint"]}
    assert story.told_again > 0


def test_alertmanager_repeats_it(story: Story) -> None:
    assert story.told_before_rise.count(("firing", "warning")) >= 3


def test_a_killed_daemon_neither_doubles_nor_ends_it(story: Story) -> None:
    mine = [alert for alert in story.after_kill if alert["labels"].get("key") == KEY]
    assert [alert["fingerprint"] for alert in mine] == [story.fired["fingerprint"]]
    assert mine[0]["startsAt"] == story.fired["startsAt"]
    assert len({json.dumps(alert["labels"], sort_keys=True) for alert in story.after_kill}) == len(story.after_kill)
    assert {status for status, _ in story.told_before_rise} == {"firing"}, "the kill was heard of"


def test_a_rise_in_severity_ends_the_milder_alert(story: Story) -> None:
    assert [alert["labels"]["severity"] for alert in story.after_rise] == ["critical"]
    assert story.after_rise[0]["startsAt"] == story.fired["startsAt"], "the same episode"


def test_it_resolves_and_stays_resolved(story: Story) -> None:
    statuses = [status for status, severity in story.told if severity == "critical"]
    assert statuses[0] == "firing" and statuses[-1] == "resolved"
    assert statuses == sorted(statuses), "it fired again after it had ended"


def test_the_outbox_knows_what_stands_and_few_attempts_are_recorded(story: Story) -> None:
    order = story.fired["annotations"]["dedupe_key"]
    states = {(one["type"], one["state"]) for one in story.deliveries if one["order"] == order}
    print(f"{len(story.deliveries)} deliveries, {story.attempts} attempts recorded, {story.told_again:.0f} told again")
    assert states == {("alert.firing", "delivered"), ("alert.updated", "delivered"), ("alert.resolved", "standing")}
    # One for each delivery, and one more for what stood when the daemon was started again.
    assert story.attempts <= 2 * len(story.deliveries)
    assert story.told_again > 4, "too little was told again to show that it is not recorded"

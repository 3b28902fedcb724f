"""What stands at an Alertmanager while the daemon around it changes, on a clock that the test moves."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.clock import ManualClock
from tests.daemon_bench import ACME, Receiver
from tests.inside_bench import inside

KEY = "entity:acme-corp"
LASTING = '[detection]\nmin_open = "10m"\n[engine]\ndrain = "2s"\n'
DETECTION = '[detection]\nmin_open = "1s"\n[engine]\ndrain = "2s"\n'


@pytest.fixture
def far() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


def channel(far: Receiver) -> str:
    return f'[[channels]]\nkind = "alertmanager"\nname = "am"\nurl = "http://127.0.0.1:{far.port}"\n'


def posted(far: Receiver, since: int = 0) -> list[dict[str, Any]]:
    """Alerts about the company that were posted."""
    alerts = [alert for hook in list(far.hooks)[since:] for alert in json.loads(hook.raw)]
    return [alert for alert in alerts if alert["labels"].get("key") == KEY]


def ends(alert: dict[str, Any]) -> float:
    return datetime.fromisoformat(alert["endsAt"]).timestamp()


async def test_an_alert_whose_end_a_missing_channel_never_heard_does_not_fire_again(
    tmp_path: Path, far: Receiver
) -> None:
    clock = ManualClock(time.time())
    async with inside(tmp_path, ACME + channel(far) + LASTING, clock=clock) as daemon:
        await daemon.ring()
        await daemon.until(lambda: posted(far), "alert")
        before = len(far.hooks)
        await daemon.pass_time(120, 5.0)
        assert [alert for alert in posted(far, before) if ends(alert) > clock.time()], "it was not told again"
    async with inside(tmp_path, ACME + LASTING, clock=clock) as daemon:
        await daemon.until(lambda: not daemon.daemon.read_model.alerts(status="firing"), "end of it", 600.0)
        await daemon.until(lambda: daemon.daemon.read_model.alerts(status="resolved"), "end on the page", 600.0)
    before = len(far.hooks)
    async with inside(tmp_path, ACME + channel(far) + LASTING, clock=clock) as daemon:
        await daemon.pass_time(300, 10.0)
        assert posted(far, before) == []


async def test_a_receiver_that_was_away_hears_all_in_order_and_the_end_for_a_while(
    tmp_path: Path, far: Receiver
) -> None:
    clock = ManualClock(time.time())
    far.answers["/api/v2/alerts"] = 503
    async with inside(tmp_path, ACME + channel(far) + DETECTION, clock=clock) as daemon:
        await daemon.ring()
        began = clock.time()
        await daemon.until(lambda: len(posted(far)) >= 8, "eighth attempt")
        assert clock.time() - began < 12 * 60, "the schedule of webhooks would have taken a day"
        tried = len(posted(far))
        far.answers["/api/v2/alerts"] = 200
        await daemon.until(lambda: ends(posted(far)[-1]) < clock.time(), "the end, told", 10.0)
        kinds = [alert["annotations"]["status"] for alert in posted(far)[tried:]]
        assert "firing" in kinds and kinds[-1] == "resolved"
        await daemon.pass_time(900, 10.0)
        before = len(far.hooks)
        await daemon.pass_time(900, 10.0)
        assert posted(far, before) == [], "the end was told for longer than it should"

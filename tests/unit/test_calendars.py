"""Trading calendars: the table is the package's, closed hours weigh what a weekend's do and teach nothing of their
weekday, and which key goes by which."""

import json
import math
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.baseline import DAY, HOUR, MONDAY, WEEK, Profile, Shape
from alerts.week import BlockSummary, learn_profile, open_hours
from monitor.assembly import assemble
from monitor.settings import SettingsError, load
from pipelines.calendars import calendars, closed_hours, closures, known_to
from pipelines.universe import load_universe

HUMP = [0.2 + (day < 5) * 2.0 * (8 <= hour < 18) + 0.1 * (day == 6) for day in range(7) for hour in range(24)]
WORKING = Profile(version=1, hours=tuple(value * 168 / sum(HUMP) for value in HUMP))


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize("name", ["XNYS", "XLON", "XHKG"])
def test_the_table_is_what_the_package_says(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, of what the package asks of it
        from benchmarks import build_closures

        said = [(first, first + hours) for first, hours in build_closures.closures(name)]
    assert said == [tuple(one) for one in closures(name)] and len(said) > 150


@pytest.mark.parametrize("name", calendars())
def test_every_calendar_is_in_order_and_closed_on_weekdays_only(name: str) -> None:
    found = closures(name)
    assert known_to(name) >= 2026 and len(found) > 40
    assert all(one.first < one.end <= other.first for one, other in pairwise(found))
    for one in found:
        assert 1 <= one.end - one.first <= 25
        saturday, sunday = one.weekend()
        assert sunday - saturday == DAY and 1 * DAY <= saturday <= 5 * DAY, "neither a Saturday nor a Sunday"


@pytest.mark.parametrize(
    ("name", "open_", "closed"),
    [
        ("XNYS", "2026-11-26T04:59", "2026-11-26T05:00"),  # Thanksgiving, in New York's time
        ("XNYS", "2026-11-27T17:59", "2026-11-27T18:00"),  # closes at one
        ("XNYS", "2026-11-28T05:00", "2026-11-28T04:59"),  # Saturday
        ("XNYS", "2026-06-20T04:00", "2026-06-19T04:00"),  # in summer
        ("XTKS", "2026-09-20T14:59", "2026-09-20T15:00"),  # Monday the 21st in Tokyo
        ("XLON", "2026-12-24T12:59", "2026-12-24T13:00"),  # at half past twelve: whole hours
        ("XNZE", "2026-02-06T11:00", "2026-02-05T11:00"),  # Friday the 6th in Auckland
    ],
)
def test_days_are_those_of_the_exchange_s_own_time(name: str, open_: str, closed: str) -> None:
    assert moment(open_) // HOUR not in closed_hours(name) and moment(closed) // HOUR in closed_hours(name)
    assert Shape(WORKING, closures(name)).at(moment(open_)) == Shape(WORKING).at(moment(open_))


@pytest.mark.parametrize(
    ("name", "closed", "weekend"),
    [
        ("XNYS", "2026-11-26T15:00", ("2026-11-28T15:00", "2026-11-29T15:00")),
        ("XNYS", "2026-11-27T02:00", ("2026-11-29T02:00", "2026-11-30T02:00")),  # still Thursday in New York
        ("XNYS", "2026-11-27T18:00", ("2026-11-28T18:00", "2026-11-29T18:00")),  # after an early close
        ("XTKS", "2026-09-20T15:00", ("2026-09-25T15:00", "2026-09-26T15:00")),  # the first hour of Monday in Tokyo
        ("XNZE", "2026-02-05T11:00", ("2026-02-06T11:00", "2026-02-07T11:00")),  # of Friday in Auckland
        ("XNZE", "2026-02-06T10:00", ("2026-02-07T10:00", "2026-02-08T10:00")),  # and its last
    ],
)
def test_a_closed_hour_weighs_what_the_same_hour_of_a_weekend_does(
    name: str, closed: str, weekend: tuple[str, str]
) -> None:
    raw = [1.0 + hour / 168 for hour in range(168)]  # no two hours alike
    profile = Profile(version=1, hours=tuple(value * 168 / sum(raw) for value in raw))
    saturday, sunday = (Shape(profile).at(moment(day)) for day in weekend)
    assert Shape(profile, closures(name)).at(moment(closed)) == pytest.approx((saturday + sunday) / 2)


def test_a_flat_week_knows_no_weekend() -> None:
    flat = Shape(Profile(), closures("XNYS"))
    assert flat.at(moment("2026-11-26T15:00")) == 1.0 and flat.integral(3e9) == Shape(Profile()).integral(3e9)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["XNYS", "XTKS", "XBOM", "XNZE"]), st.integers(0, 24 * 365 * 8), st.integers(1, 400))
def test_exposure_is_the_sum_of_the_hours(name: str, first: int, count: int) -> None:
    shape = Shape(WORKING, closures(name))
    start = moment("2019-01-01T00:00") + first * HOUR
    whole = sum(shape.at(start + hour * HOUR) * HOUR for hour in range(count))
    assert math.isclose(shape.integral(start + count * HOUR) - shape.integral(start), whole, rel_tol=1e-6, abs_tol=1e-2)
    half = shape.integral(start + 1800.0) - shape.integral(start)
    assert math.isclose(half, shape.at(start) * 1800.0, rel_tol=1e-5, abs_tol=1e-3)


def test_what_was_closed_teaches_nothing_of_its_weekday() -> None:
    """Four weeks in which two of the Thursdays are closed, and one of whose Thursdays is after an early close."""
    begin = MONDAY + 2960 * WEEK  # 2026-09-28; four weeks of it
    shut = {int(begin // HOUR) + 24 * (3 + 7 * week) + hour for week in (1, 2) for hour in range(24)}
    blocks = [
        BlockSummary("k", "news", begin + hour * HOUR, 0.1, 200.0 * WORKING.hours[hour % 168])
        for hour in range(4 * 168)
        if int(begin // HOUR) + hour not in shut
    ]
    with_, without = (
        learn_profile(
            blocks,
            Profile(),
            effective_from=begin + 4 * WEEK,
            span=4 * WEEK,
            seen=open_hours(begin, begin + 4 * WEEK, [(1, closed)]),
        ).hours
        for closed in (shut, set[int]())
    )
    wednesday, thursday = slice(48, 72), slice(72, 96)
    assert sum(with_[thursday]) / sum(with_[wednesday]) == pytest.approx(1.0, abs=0.01)
    assert sum(without[thursday]) / sum(without[wednesday]) < 0.6
    assert open_hours(begin, begin + 4 * WEEK, [(3.0, set())]) == (1.0,) * 168
    mixed = open_hours(begin, begin + 4 * WEEK, [(3.0, set()), (1.0, shut)])
    assert mixed[80] == pytest.approx(1 - 0.25 / 2) and mixed[100] == 1.0


def test_part_of_a_week_is_not_counted_as_two() -> None:
    """Ten days of a tape without busy hours: three weekdays were seen twice."""
    begin = MONDAY + 2960 * WEEK
    blocks = [BlockSummary("k", "news", begin + hour * HOUR, 0.1, 500.0) for hour in range(240)]
    seen = open_hours(begin, begin + 10 * DAY, [(1.0, set())])
    hours = learn_profile(blocks, Profile(), effective_from=begin + 11 * DAY, span=10 * DAY, seen=seen).hours
    assert max(hours) / min(hours) < 1.02


def test_every_shipped_company_has_its_exchange_s_calendar() -> None:
    found = {entity.id: entity.calendar for entity in load_universe()}
    assert set(found.values()) <= set(calendars())
    assert [found[name] for name in ("AAPL", "BRK.B", "DBK.DE", "7203.T", "SHEL.L", "ASML.AS")] == [
        "XNYS",
        "XNYS",
        "XETR",
        "XTKS",
        "XLON",
        "XAMS",
    ]


def test_keys_go_by_the_calendar_of_their_companies(tmp_path: Path) -> None:
    file = tmp_path / "tapewatch.toml"
    own = '{ name = "Acme Corp", calendar = "XTKS" }, { name = "Bolt Works" }'
    file.write_text(
        f'[[watchlists]]\nname = "all"\nentities = ["JPM", {own}]\ntopics = ["Earnings"]\n'
        '[[watchlists]]\nname = "us"\nentities = ["JPM", "AAPL"]\n'
    )
    watch = assemble(load(file, {}), ["Earnings"]).watch
    assert watch.calendar("entity:JPM") == watch.calendar("entity:JPM/topic:earnings") == "XNYS"
    assert watch.calendar("list:us") == "XNYS" and watch.calendar("entity:acme-corp") == "XTKS"
    assert [watch.calendar(key) for key in ("list:all", "entity:bolt-works", "market", "topic:earnings", "?")] == [
        None
    ] * 5
    told = run("check-config", "-c", file).stderr.decode()
    assert "XNYS (2, to 2035), XTKS (1, to 2035); 1 goes by none\n" in told
    file.write_text('[[watchlists]]\nname = "x"\nentities = [{ name = "Acme Corp", calendar = "xnyse" }]\n')
    with pytest.raises(SettingsError, match=r"#1 \(x\).*'Acme Corp'.*'xnyse' is none.*did you mean 'XNYS'\?"):
        assemble(load(file, {}), ["Earnings"])


def run(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "monitor", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120)


def test_detect_goes_by_the_week_and_a_calendar_where_it_is_told_to() -> None:
    """A burst at the usual busy hour of Thanksgiving: on a working day it is the usual, on a closed day it rings."""
    start = moment("2026-10-12T00:00")
    usual = [start + (day * 24 + 15) * HOUR + number * 60 for day in range(45) if day % 7 < 5 for number in range(8)]
    lines = "\n".join(json.dumps({"key": "k", "ts": at, "p_negative": 0.7, "id": f"{at:.0f}"}) for at in usual).encode()

    def expected(*options: str) -> list[float]:
        answer = run(
            "detect", "--class", "news", "--false-alarms-per-month", "30", *options, stdin=lines + b"\n" + burst
        )
        assert answer.returncode == 0, answer.stderr
        told = [json.loads(line) for line in answer.stdout.splitlines()]
        return [event["expected"] for event in told if event["type"] == "alert.firing" and event["ts"] > "2026-11-26"]

    at = moment("2026-11-26T15:00")
    burst = "\n".join(
        json.dumps({"key": "k", "ts": at + number * 60, "p_negative": 0.95, "id": f"b{number}"}) for number in range(30)
    ).encode()
    known, unknown = expected("--week", "--calendar", "XNYS"), expected("--week")
    assert known and unknown and known[0] < unknown[0] / 2
    assert run("detect", "--calendar", "XNYS", stdin=lines).returncode == 2
    refused = run("detect", "--week", "--calendar", "NYSE", stdin=lines)
    assert refused.returncode == 2 and b"XNYS" in refused.stderr

"""The figures that the page draws, of a read model that was filled by the log's own records."""

from pathlib import Path

import pytest

from pipelines.documents import SeriesPoint, encode, iso
from pipelines.histories import BLOCK, DAY, buckets, standings
from pipelines.streams.base import SERIES, Record
from pipelines.view import ReadModel
from pipelines.watch import Watch

NOW = 1_790_000_000.0 // DAY * DAY
KEY = "market"


@pytest.fixture
def model(tmp_path: Path) -> ReadModel:
    """Blocks every other hour for four days, the last one a burst."""
    model = ReadModel(tmp_path / "view", Watch([], []))
    records = []
    for number in range(48):
        start = NOW - 4 * DAY + number * 7_200.0
        last = number == 47
        for class_, expected in (("news", 0.2), ("social", 0.05)):
            point = SeriesPoint(
                key=KEY, class_=class_, start=iso(start), end=iso(start + BLOCK), bad=9.0 if last else 0.1, others=1.0,
                documents=10 if last else 1, expected=99.0 if number < 6 else expected, expected_low=0.0,
                expected_high=1.0, score=8.0 if last and class_ == "news" else 0.0, threshold=3.0,
                baseline_span=number * 7_200.0 + 43_200.0,
            )  # fmt: skip
            records.append(Record(SERIES, KEY, encode(point), len(records), start))
    model.apply(records, "1")
    return model


def test_what_is_expected_goes_on_where_nothing_came_and_is_not_told_before_a_day_is_known(model: ReadModel) -> None:
    days = buckets(model, KEY, NOW - 6 * DAY, NOW, 6)
    assert [one.seen for one in days] == [False, False, True, True, True, True]
    assert [one.known for one in days] == [False, False, True, True, True, True]
    # A quarter of a story each half hour is twelve a day, whether or not every half hour had one.
    assert [round(one.expected, 6) for one in days[2:]] == [12.0] * 4
    assert all(one.low < 12.0 < one.high for one in days[2:])
    assert days[-1].high < 12.0 + 2.2 * (12.0 * (1 + 0.1 * 12.0)) ** 0.5
    assert round(days[3].bad, 3) == 2.4 and days[3].documents == 24
    hours = buckets(model, KEY, NOW - 4 * DAY, NOW, 96)
    assert [one.known for one in hours[:13]] == [False] * 12 + [True]
    assert sum(one.seen for one in hours) == 48 and all(one.known for one in hours[12:])
    assert hours[94].bad == 18.0 and hours[94].score > 7.0 and hours[94].bad > hours[94].high


def test_a_key_stands_where_its_classes_together_do(model: ReadModel) -> None:
    stand = standings(model)[KEY]
    assert stand.score == pytest.approx(buckets(model, KEY, NOW - DAY, NOW, 24)[22].score)
    assert 7.0 < stand.score < 8.0 and stand.unusual == stand.score / 3.0
    assert stand.end == NOW - 7_200.0 + BLOCK and standings(model, "topic:nothing") == {}

"""``export series``: the read model's blocks as a table, and over longer periods as their sums by hand."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.answers import Answers
from pipelines.documents import SeriesPoint
from pipelines.watch import Watch
from tests.contract.test_upgrade import unpacked
from tests.daemon_bench import ACME, Daemon
from tests.golden.make import VIEW

KEYS = ("list:mine", "market")
SUMMED = ("documents", "bad", "others", "expected", "expected_low", "expected_high")


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    """One that is stopped, with two weeks of history in its read model."""
    made = Daemon(tmp_path / "d", ACME)
    unpacked(tmp_path, VIEW).rename(made.store.with_name(made.store.name + ".view"))
    return made


def points(daemon: Daemon) -> list[SeriesPoint]:
    answers = Answers(daemon.store.with_name(daemon.store.name + ".view"), Watch([], []))
    found = [point for key in KEYS for point in answers.history(key, 0.0, 4e9)]
    answers.close()
    return found


def exported(daemon: Daemon, out: Path, *options: str) -> dict[str, Any]:
    until = ("--until", "2033-01-01", *(option for key in KEYS for option in ("--key", key)))
    done = daemon.cli("export", "series", "--out", str(out), *until, *options)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_every_block_is_a_row_as_it_is_kept(daemon: Daemon, tmp_path: Path) -> None:
    told = exported(daemon, tmp_path / "blocks.csv")
    with (tmp_path / "blocks.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    kept = sorted(points(daemon), key=lambda point: (point.key, point.class_, point.start))
    assert len(rows) == len(kept) == told["rows"] > 50 and told["keys"] == 2
    for row, point in zip(rows, kept, strict=True):
        assert (row["key"], row["class"]) == (point.key, point.class_)
        assert datetime.fromisoformat(row["time"]) == datetime.fromisoformat(point.start)
        for name in (*SUMMED, "score", "threshold", "baseline_span"):
            assert float(row[name]) == getattr(point, name)
    assert not list(tmp_path.glob("*.partial"))


def test_a_week_is_the_sum_of_its_blocks_and_begins_on_a_monday(daemon: Daemon, tmp_path: Path) -> None:
    exported(daemon, tmp_path / "weeks.parquet", "--every", "1w")
    weeks: dict[tuple[str, str, datetime], list[SeriesPoint]] = defaultdict(list)
    for point in points(daemon):
        day = datetime.fromisoformat(point.start).replace(hour=0, minute=0)
        weeks[point.key, point.class_, day - timedelta(days=day.weekday())].append(point)
    table = pd.read_parquet(tmp_path / "weeks.parquet")
    rows = {(row["key"], row["class"], row["time"].to_pydatetime()): row for row in table.to_dict("records")}
    assert set(rows) == set(weeks) and len(weeks) > 4
    for name, blocks in weeks.items():
        for column in SUMMED:
            assert rows[name][column] == pytest.approx(sum(getattr(block, column) for block in blocks))
        assert rows[name]["score"] == max(block.score for block in blocks)
        assert rows[name]["threshold"] == max(blocks, key=lambda block: block.start).threshold
    moods = table.groupby(["key", "time"])["sentiment_index"].nunique(dropna=True)
    assert moods.max() == 1 and table["sentiment_index"].dropna().between(-1, 1).all()
    assert table["time"].min() < datetime.now(UTC)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--out", "table.xlsx"), "--out table.xlsx: ends in none of .csv, .csv.gz, .parquet"),
        (("--out", "t.csv", "--every", "45m"), "--every '45m': is no whole number of half hours"),
        (("--out", "t.csv", "--key", "entity:nobody"), "--key entity:nobody: is no watched key"),
        (("--out", "nowhere/t.csv"), "--out nowhere/t.csv: "),
    ],
)
def test_what_can_not_be_exported_says_why(daemon: Daemon, options: tuple[str, ...], says: str) -> None:
    done = daemon.cli("export", "series", *options)
    assert done.returncode == 2 and says in done.stderr, done.stderr

"""The read model's history as a table: a row for each key, class and period.

Blocks of half an hour are what is kept; a longer period sums what was counted and what was expected in its blocks. A
period without a block has no row: what would have been expected in it was never reckoned.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from pipelines.answers import Answers

KEYS = ["time", "key", "class"]

COLUMNS = {
    "documents": "sum",
    "bad": "sum",
    "others": "sum",
    "expected": "sum",
    "expected_low": "sum",
    "expected_high": "sum",
    "score": "max",
    "threshold": "last",
    "baseline_span": "last",
}
"""Figures of a block, and what they come to over several. Bounds add up as if all blocks erred the same way."""

MONDAY = pd.Timestamp("1970-01-05", tz="UTC")
"""Where periods begin to be counted from: weeks on Mondays, days at midnight UTC."""


def series(answers: Answers, keys: Iterable[str], *, since: float, until: float, every: float) -> pd.DataFrame:
    """Blocks that began from ``since`` on and before ``until`` (seconds since 1970), in periods of ``every`` seconds.

    Columns: KEYS (``time`` is the period's beginning), those of COLUMNS, and ``sentiment_index`` as it stood at the
    period's end, missing where nothing moved it. In the order of keys, classes and time.
    """
    tables = [table for key in keys if not (table := _of(answers, key, since, until, every)).empty]
    return (
        pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*KEYS, *COLUMNS, "sentiment_index"])
    )


def _of(answers: Answers, key: str, since: float, until: float, every: float) -> pd.DataFrame:
    blocks = pd.DataFrame(
        [
            (point.start, point.class_, *(getattr(point, name) for name in COLUMNS))
            for point in answers.history(key, since, until)
        ],
        columns=["time", "class", *COLUMNS],
    )
    blocks["time"] = pd.to_datetime(blocks["time"], utc=True, format="ISO8601")
    moods = pd.DataFrame(answers.mood_history(key, since, until), columns=["time", "sentiment_index"])
    moods["time"] = pd.to_datetime(moods["time"], unit="s", utc=True)
    periods = pd.Grouper(key="time", freq=f"{round(every)}s", origin=MONDAY)
    # By class first: of a Grouper's periods only those are made that hold something of the class.
    counted = blocks.groupby(["class", periods]).agg(COLUMNS).reset_index()
    moved = moods.groupby(periods)["sentiment_index"].last()
    table = counted.join(moved, on="time")
    table.insert(1, "key", key)
    return table[[*KEYS, *COLUMNS, "sentiment_index"]]

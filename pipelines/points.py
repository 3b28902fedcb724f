"""What the aggregate stage tells of its keys' blocks: the records of *series*."""

from __future__ import annotations

from alerts.detector import Block
from pipelines.documents import SeriesPoint, encode, iso
from pipelines.streams.base import SERIES, Output


def point_of(key: str, block: Block, *, closed_at: float | None, backfill: bool) -> Output:
    """A block as it stands; ``closed_at``: when it was closed, None while it is open."""
    figures = block.closed
    point = SeriesPoint(
        key=key,
        class_="social" if block.class_ == "social" else "news",
        start=iso(figures.start),
        end=iso(figures.start + 1800.0),
        bad=round(figures.bad, 4),
        others=round(figures.others, 4),
        documents=figures.documents,
        expected=round(figures.expected, 5),
        expected_low=round(block.low, 5),
        expected_high=round(block.high, 5),
        score=round(block.score, 4),
        threshold=round(block.threshold, 4),
        baseline_span=round(block.span, 3),
        closed=closed_at is not None,
        closed_at=None if closed_at is None else iso(closed_at),
        backfill=backfill,
    )
    return Output(SERIES, key, encode(point))

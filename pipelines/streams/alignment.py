"""What a reader may believe of watermarks that come from several partitions: the least of them."""

from __future__ import annotations

from pipelines.documents import RecordError, Watermark, decode, encode, epoch, iso
from pipelines.streams.base import WATERMARK, Record
from pipelines.streams.layout import SPOKEN_FOR_BY


class Alignment:
    """The watermarks that one partition of a stage gets on its first input, ``topic``, from ``origins`` partitions.

    Nothing is held back for it: a watermark only lets time pass where no item comes. After a start nothing passes
    until every origin has spoken again.
    """

    def __init__(self, topic: str, origins: int) -> None:
        self._topic = topic
        self._origins = origins
        self._marks: dict[int, float] = {}
        self._passed = float("-inf")

    def take(self, record: Record, origin: int) -> Record | None:
        """The record as the stage is to see it; None for a watermark that lets no time pass."""
        if record.key != WATERMARK:
            return record
        if record.topic != self._topic:
            return None
        if self._topic not in SPOKEN_FOR_BY:
            return record  # from one writer: the stage's to judge
        try:
            self._marks[origin] = epoch(decode(Watermark, record.value).at)
        except RecordError:
            return record  # the stage's dead letter
        if len(self._marks) < self._origins or min(self._marks.values()) <= self._passed:
            return None
        self._passed = min(self._marks.values())
        return record._replace(value=encode(Watermark(at=iso(self._passed))))

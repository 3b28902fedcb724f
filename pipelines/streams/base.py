"""What a stage may ask of an engine, and what an engine may ask of a stage.

A stage is a pure handler over batches of records and keyed state (the classifier apart). The engine owns
batching, offsets, durability, back-pressure and shutdown, and runs every batch as one unit: state, outputs and
offset all take effect or none does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

DOCUMENTS = "documents"
SCORES = "scores"
EVIDENCE = "evidence"
PROFILES = "profiles"
SOURCES = "sources"
CANDIDATES = "candidates"
COMMANDS = "commands"
SERIES = "series"
ALERTS = "alerts"
OUTBOX = "outbox"
DELIVERIES = "deliveries"
DEAD_LETTERS = "dead-letters"

TOPICS = (
    DOCUMENTS,
    SCORES,
    EVIDENCE,
    PROFILES,
    SOURCES,
    CANDIDATES,
    COMMANDS,
    SERIES,
    ALERTS,
    OUTBOX,
    DELIVERIES,
    DEAD_LETTERS,
)

WATERMARK = "~watermark"
"""The key of a Watermark record; it travels in order with the records of its topic."""


class EngineError(Exception):
    """An engine can't do its work."""


class Behind(EngineError):
    """The stages behind the log are too far back to take more; try again after ``retry_after`` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the pipeline is behind; try again in {retry_after:.0f} s")
        self.retry_after = retry_after


class StoreFull(EngineError):
    """The disk has no room; nothing was accepted and no offset moved."""


class StoreLocked(EngineError):
    """Another daemon holds the store."""


class Record(NamedTuple):
    """One record as a stage gets it. ``offset`` grows along a partition and is never used twice."""

    topic: str
    key: str
    value: bytes
    offset: int
    partition: int = 0


class Output(NamedTuple):
    """One record that a stage wants written."""

    topic: str
    key: str
    value: bytes


V = TypeVar("V")


class Table(Protocol[V]):
    """Keyed state. What ``get`` returns may be changed in place, but only ``put`` makes the change durable."""

    def get(self, key: str) -> V | None: ...
    def put(self, key: str, value: V) -> None: ...
    def delete(self, key: str) -> None: ...
    def items(self, below: str | None = None, limit: int | None = None) -> Iterator[tuple[str, V]]:
        """Rows in the order of their keys, from the smallest up to ``below`` (exclusive)."""
        ...


class State(Protocol):
    """The tables of one stage in one partition.

    ``generation`` changes whenever values that were handed out before are void (a batch was rolled back): what a
    stage derived from them and keeps in memory is void with them.
    """

    @property
    def generation(self) -> int: ...

    def table(self, name: str) -> Table[Any]: ...


class Stage(Protocol):
    """A stage: named as in ``--only``, reading some topics, keeping some tables."""

    name: str
    inputs: tuple[str, ...]
    tables: Mapping[str, type[Any]]
    """Table name to the msgspec-encodable type of its values; empty for a stage without state."""

    def handle(self, batch: Sequence[Record], state: State) -> list[Output]:
        """Work through a batch in order. Must not raise for a bad record: that is a dead letter's job."""
        ...

    def recovered(self, state: State) -> list[Output]:
        """What to say again after a start, from the state that was restored."""
        ...


class LogReader(Protocol):
    """How the read model follows the log without being a stage: it keeps its own offset."""

    def read(self, topics: Sequence[str], after: int, limit: int) -> list[Record]: ...


class Writer(Protocol):
    """How records enter the log from outside the stages."""

    async def append(self, outputs: Iterable[Output]) -> None: ...

"""The seam: what the daemon may ask of an engine, what an engine may ask of a stage, and what both may ask of state.

EngineError
+-- Behind         the stages are too far back to take more
+-- Unwritable     nothing can be written now
|   +-- StoreFull  the disk has no room
|   +-- StoreFails  the disk has room, and fails all the same
+-- StoreLocked    another daemon holds the store
+-- StoreTorn      a file's content proved damaged
+-- PositionLost   the log was never where its reader is
+-- StageUnable    what a stage works with fails, whatever the record

A stage is a pure handler over batches of records and keyed state (the classifier apart). The engine owns
batching, offsets, durability, back-pressure and shutdown, and runs every batch as one unit: state, outputs and
offset all take effect or none does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

DOCUMENTS = "documents"
SCORES = "scores"
EVIDENCE = "evidence"
PROFILES = "profiles"
SOURCES = "sources"
CANDIDATES = "candidates"
COMMANDS = "commands"
SERIES = "series"
READINGS = "readings"
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
    READINGS,
    ALERTS,
    OUTBOX,
    DELIVERIES,
    DEAD_LETTERS,
)

INGEST = "ingest"
"""Not a stage that is fed from the log, but the owner of tables like one: ids seen, cursors, what was told."""

WATERMARK = "~watermark"
"""The key of a Watermark record; it travels in order with the records of its topic."""


class EngineError(Exception):
    """An engine can't do its work."""


class Behind(EngineError):
    """The stages behind the log are too far back to take more; try again after ``retry_after`` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the pipeline is behind; try again in {retry_after:.0f} s")
        self.retry_after = retry_after


class Unwritable(EngineError):
    """Nothing can be written now; nothing was accepted and no offset moved. Work resumes by itself."""


class StoreFull(Unwritable):
    """The disk has no room; nothing was accepted and no offset moved."""


class StoreFails(Unwritable):
    """The system answers a write with an error that is no want of room; nothing was accepted and no offset moved."""


class StoreLocked(EngineError):
    """Another daemon holds the store."""


class StoreTorn(EngineError):
    """A file's content proved damaged while it was in use: nothing more can be done with it."""


class PositionLost(EngineError):
    """A reader's place is none of this log's: the log began anew, or is an older copy. The reader begins anew, too."""


class StageUnable(EngineError):
    """What a stage works with fails, and no record is to blame: the engine ends, and nothing of the batch is done."""


class Record(NamedTuple):
    """One record as a stage gets it. ``offset`` grows along a partition and is never used twice."""

    topic: str
    key: str
    value: bytes
    offset: int
    partition: int = 0


class Output(NamedTuple):
    """One record that is to be written. ``origin``: the partition that a watermark speaks for. ``together``: records
    with the same text go to one partition, in their order; without it those of one key do."""

    topic: str
    key: str
    value: bytes
    origin: int = 0
    together: str = ""


V = TypeVar("V")


class Table(Protocol[V]):
    """Keyed state. What ``get`` returns may be changed in place, but only ``put`` makes the change durable."""

    def get(self, key: str) -> V | None: ...
    def put(self, key: str, value: V) -> None: ...
    def delete(self, key: str) -> None: ...
    def items(self, below: str | None = None, limit: int | None = None) -> Iterator[tuple[str, V]]:
        """Rows in the order of their keys, from the smallest up to ``below`` (exclusive)."""
        ...


class Claim(Protocol):
    """That no other process uses the same store, until it is released or this process ends."""

    def release(self) -> None: ...


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
    """How the read model follows the log without being a stage: it keeps its own place, beside what it read.

    ``position`` is the engine's own text (an offset here, offsets by topic and partition there); "" is the beginning.
    The records of one partition of a topic come in their order; between topics there is none to rely on.
    """

    def read(self, topics: Sequence[str], position: str, limit: int) -> tuple[list[Record], str]:
        """Up to ``limit`` records beyond ``position``, and the position after them; none while the log can't be read.

        Called on one thread, which it may hold up to half a second while it waits for the first record. Asking beyond
        a position says that what lies before it is kept elsewhere: the engine may let go of it. Raises PositionLost.
        """
        ...

    def close(self) -> None: ...


T = TypeVar("T")


class Engine(Protocol):
    """What the daemon may ask of an engine. All of it is called on the event loop of ``start``.

    Built but not started, an engine holds its resources and does nothing.
    """

    @property
    def name(self) -> str:
        """As in ``[engine] kind``."""
        ...

    @property
    def fatal(self) -> BaseException | None:
        """Why a part ended that should not have, if one did: the daemon then ends."""
        ...

    def waiting_for(self) -> str | None:
        """Why nothing can be written now, in words for an operator; None when all is well."""
        ...

    @property
    def stands_by(self) -> Collection[str]:
        """Stages that run here and have nothing to do, since other processes have all of their partitions."""
        ...

    def lag(self) -> dict[str, tuple[float, int]]:
        """Stages that run here -> (seconds, records) that they are behind."""
        ...

    def on_commit(self, listener: Callable[[Sequence[Output]], None]) -> None:
        """``listener`` is called with what each unit of this process wrote, once that is durable."""
        ...

    async def start(self, stages: Sequence[Stage]) -> None:
        """Restores the stages' states, sends again what they ask for, and sets them to work."""
        ...

    async def stop(self, budget: float) -> None:
        """Lets the batches under way finish within ``budget`` seconds and lets go of everything."""
        ...

    async def drained(self) -> None:
        """Returns when nothing waits for the stages that run here; raises EngineError when one of them ended."""
        ...

    async def append(self, outputs: Iterable[Output]) -> None:
        """Writes records from outside the stages; durable when it returns. Raises Unwritable."""
        ...

    async def watermark(self, topic: str, at: float) -> None:
        """Says that ``topic`` is complete up to ``at``, in seconds since 1970. Raises Unwritable."""
        ...

    def admit(self) -> None:
        """Raises Behind while more waits for the score stage than it should."""
        ...

    async def admitted(self) -> None:
        """Waits until there is room for more documents."""
        ...

    async def take_in(self, work: Callable[[State], tuple[T, Iterable[Output]]]) -> T:
        """Runs ``work`` on ingest's tables and writes what it says. Raises Unwritable.

        The tables never know more than the log: they take effect with the outputs or after them. ``work`` may run
        again on tables as they were before it.
        """
        ...

    async def inspect(self, owner: str, question: Callable[[State], T]) -> T:
        """What ``question`` reads in the tables of a stage that runs here, or of ``INGEST``. It changes nothing."""
        ...

    async def between_batches(self, change: Callable[[], None]) -> None:
        """Runs ``change`` while no stage is at a batch."""
        ...

    def reader(self) -> LogReader:
        """A way through the log of its own."""
        ...

    async def news(self) -> None:
        """Returns when the reader may find more than it found last."""
        ...

"""The topics: their names, partitions and settings; made by ``tapewatch kafka init``, compared by ``check``."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, MemberToRemove, NewTopic
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    InvalidReplicationFactorError,
    NotCoordinatorError,
    TopicAuthorizationFailedError,
)

from pipelines.streams.base import (
    ALERTS,
    COMMANDS,
    DEAD_LETTERS,
    DELIVERIES,
    OUTBOX,
    PROFILES,
    SERIES,
    SOURCES,
    TOPICS,
    EngineError,
    Stage,
)
from pipelines.streams.kafka.connection import Connection
from pipelines.streams.layout import partitions

LARGE = 8 << 20
"""Bytes of the largest record batch of a changelog, which holds a whole unit of work, and of a dead letter."""

ROLL = 16 << 20
"""Bytes after which a broker closes a segment of a changelog. Only closed ones are compacted, and a worker without its
tables reads all that is there: at the broker's own 1 GiB, a week of changes to the same few rows."""

LONG = 120 * 86_400.0
"""Seconds that what page and API show is kept: a lost read model is filled from it again."""

RIGHTS = ("READ", "WRITE", "DESCRIBE")
"""What a process that runs all parts needs on every topic."""

GROUPS = 15.0
"""Seconds that brokers may take until they know of groups at all."""

SEGMENT = 43_200.0
"""Seconds after which a broker closes a segment of texts that are bounded, since it lets go of closed ones only."""

_QUOTED = frozenset({ALERTS, OUTBOX})
"""Shown for long, but for what they quote of texts."""
_SHOWN = frozenset({SERIES, ALERTS, OUTBOX, DELIVERIES, DEAD_LETTERS})
_COMPACTED = frozenset({PROFILES, SOURCES})


class Topic(msgspec.Struct, frozen=True):
    """One topic as it should be."""

    name: str
    partitions: int
    settings: dict[str, str]


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How the engine's topics and groups are named, cut and kept.

    ``retention`` in seconds, as is ``texts``: the longest time that a text may be kept in any topic, where there is a
    bound. Nothing is written that quotes a text older than ``texts`` less ``retention`` and a day.
    """

    topic_prefix: str = "tapewatch."
    group_prefix: str = "tapewatch."
    partitions: int = 8
    replication: int = 3
    retention: float = 7 * 86_400.0
    texts: float | None = None

    @property
    def in_sync(self) -> int:
        """Replicas that must have a record before it counts as written: one may be missing."""
        return max(1, self.replication - 1)

    def topic(self, topic: str) -> str:
        return f"{self.topic_prefix}{topic}"

    def plain(self, name: str) -> str:
        """The topic that a broker's name stands for."""
        return name.removeprefix(self.topic_prefix)

    def group(self, stage: str) -> str:
        return f"{self.group_prefix}{stage}"

    def changelog(self, stage: str) -> str:
        """The topic of a stage's tables."""
        return f"{self.topic_prefix}{stage}-state"

    def count(self, topic: str) -> int:
        """Partitions of ``topic``. What every partition of a stage reads has a copy in each: so a stage's topics and
        its changelog have equally many, and Faust assigns them together."""
        return partitions(topic, self.partitions)

    def topics(self, stages: Iterable[Stage]) -> list[Topic]:
        """All topics, with the changelogs of ``stages``."""
        found = [Topic(self.topic(topic), self.count(topic), self._settings(topic)) for topic in TOPICS]
        for stage in stages:
            if stage.tables:
                found.append(Topic(self.changelog(stage.name), self.count(stage.inputs[0]), self._changelog()))
        return found

    def _settings(self, topic: str) -> dict[str, str]:
        if topic in _COMPACTED:
            return self._compact()
        if topic == COMMANDS:  # as the embedded engine: silences last, and verdicts are asked for years later
            return {"cleanup.policy": "delete", "retention.ms": "-1", "min.insync.replicas": str(self.in_sync)}
        kept = max(LONG, self.retention) if topic in _SHOWN else self.retention
        if self.texts is not None and topic in _QUOTED:
            kept = self.retention
        elif self.texts is not None and topic == DEAD_LETTERS:
            kept = min(kept, self.texts - 2 * SEGMENT)
        settings = {
            "cleanup.policy": "delete",
            "retention.ms": str(int(kept * 1000)),
            "min.insync.replicas": str(self.in_sync),
        }
        if topic == DEAD_LETTERS:
            settings["max.message.bytes"] = str(LARGE)
        if self.texts is not None:
            settings["segment.ms"] = str(int(SEGMENT * 1000))
        return settings

    def _compact(self) -> dict[str, str]:
        return {"cleanup.policy": "compact", "min.insync.replicas": str(self.in_sync)}

    def _changelog(self) -> dict[str, str]:
        settings = self._compact() | {"max.message.bytes": str(LARGE), "segment.bytes": str(ROLL)}
        if self.texts is not None:
            settings["max.compaction.lag.ms"] = str(int(SEGMENT * 1000))
        return settings


class Difference(NamedTuple):
    """What is not as it should be, with what to do. ``grave``: no stage can work with it."""

    text: str
    grave: bool


def create(admin: KafkaAdminClient, layout: Layout, stages: Sequence[Stage]) -> list[str]:
    """Makes the topics that are missing and returns their names; what is there stays as it is. Raises EngineError."""
    there = set(admin.list_topics())
    missing = [topic for topic in layout.topics(stages) if topic.name not in there]
    made = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=layout.replication,
            topic_configs=topic.settings,
        )
        for topic in missing
    ]
    try:
        if made:
            admin.create_topics(made)
    except TopicAuthorizationFailedError:
        names = ", ".join(topic.name for topic in missing)
        raise EngineError(
            f"no right to create {names}: grant it on the prefix, or let one who has it run this"
        ) from None
    except InvalidReplicationFactorError as error:
        raise EngineError(
            f"there are too few brokers for [engine.kafka] replication = {layout.replication}: lower it, or add brokers"
        ) from error
    return [topic.name for topic in missing]


def differences(admin: KafkaAdminClient, layout: Layout, stages: Sequence[Stage]) -> list[Difference]:
    """What of the topics is not as it should be; nothing when all is well."""
    wanted = layout.topics(stages)
    told = {entry["name"]: entry for entry in admin.describe_topics([topic.name for topic in wanted])}
    there = {name: entry["partitions"] for name, entry in told.items() if not entry["error_code"]}
    found = [
        Difference(_absent(topic.name, told.get(topic.name, {}).get("error_code")), grave=True)
        for topic in wanted
        if topic.name not in there
    ]
    present = [topic for topic in wanted if topic.name in there]
    settings = _settings_of(admin, [topic.name for topic in present])
    for topic in present:
        found.extend(_compare(topic, layout, there[topic.name], settings.get(topic.name, {})))
    return found


def _absent(name: str, code: object) -> str:
    if code == TopicAuthorizationFailedError.errno:
        return f"topic {name}: no right to describe it, if it is there: grant {', '.join(RIGHTS).lower()}"
    return f"topic {name} is missing: run `tapewatch kafka init`"


def rights(admin: KafkaAdminClient, layout: Layout, stages: Sequence[Stage]) -> list[str]:
    """Which rights are missing on the topics that are there, a sentence each; nothing when all is well."""
    found = []
    for entry in admin.describe_topics([topic.name for topic in layout.topics(stages)]):
        missing = [right for right in RIGHTS if right not in (entry["authorized_operations"] or ())]
        if not entry["error_code"] and missing:
            found.append(
                f"topic {entry['name']}: no right to {', '.join(missing).lower()}; grant it with kafka-acls.sh"
            )
    return found


def group_rights(admin: KafkaAdminClient, layout: Layout, stages: Sequence[Stage]) -> list[str]:
    """Which of the stages' groups may not be joined, a sentence each; nothing when all is well."""
    groups = [layout.group(stage.name) for stage in stages]
    return [
        f"group {group}: no right to read; without it no worker may join: grant it with kafka-acls.sh"
        for group in groups
        if not _may_join(admin, group)
    ]


def _may_join(admin: KafkaAdminClient, group: str) -> bool:
    """To leave a group as a member that it never had takes the same right, and changes nothing."""
    deadline = time.monotonic() + GROUPS
    while True:
        try:
            admin.remove_group_members(group, [MemberToRemove(member_id=f"nobody-{uuid.uuid4().hex}")])
        except GroupAuthorizationFailedError:
            return False
        except (CoordinatorNotAvailableError, NotCoordinatorError, CoordinatorLoadInProgressError):
            # Brokers that have had no group yet make the topic of the groups' offsets first, and then load it.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return True


def clock_skew(admin: KafkaAdminClient, connection: Connection, layout: Layout, now: Callable[[], float]) -> float:
    """Seconds by which the broker's clock is ahead of this machine's, by a record in a topic made for it."""
    name = f"{layout.topic_prefix}clock-{uuid.uuid4().hex[:8]}"
    stamped = {"message.timestamp.type": "LogAppendTime"}
    admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1, topic_configs=stamped)])
    try:
        admin.wait_for_topics([name])
        producer = KafkaProducer(**connection.client())
        try:
            producer.partitions_for(name)
            before = now()
            written = producer.send(name, b"?").get(timeout=10)
            return float(written.timestamp / 1000 - (before + now()) / 2)
        finally:
            producer.close()
    finally:
        admin.delete_topics([name])


def _settings_of(admin: KafkaAdminClient, names: Sequence[str]) -> dict[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {}
    if names:
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        for resources_of_kind in admin.describe_configs(resources, config_filter="all").values():
            for name, entries in resources_of_kind.items():
                found[name] = {key: entry["value"] for key, entry in entries.items()}
    return found


def _compare(
    topic: Topic, layout: Layout, partitions_there: Sequence[Mapping[str, object]], settings: Mapping[str, str]
) -> Iterable[Difference]:
    if len(partitions_there) != topic.partitions:
        yield Difference(
            f"topic {topic.name} has {len(partitions_there)} partitions, not {topic.partitions}: a stage's topics and "
            "its state need equally many; set [engine.kafka] partitions to what is there, or delete the topics and "
            "begin anew",
            grave=True,
        )
    replicas = min((len(one["replica_nodes"]) for one in partitions_there), default=0)  # type: ignore[arg-type]  # kafka-python's answers are untyped
    if replicas < layout.replication:
        text = f"topic {topic.name} has {replicas} replicas, not {layout.replication}: reassign its partitions"
        yield Difference(text, grave=False)
    for name, value in topic.settings.items():
        if name in settings and settings[name] != value:
            yield Difference(
                f"topic {topic.name} has {name} = {settings[name]}, not {value}: "
                f"kafka-configs.sh --alter --topic {topic.name} --add-config {name}={value}",
                grave=False,
            )

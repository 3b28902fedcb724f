"""The topics' description as AsyncAPI 3.0, made from the records' types and from how the topics lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from alerts.baseline import Profile
from alerts.outbox import DeliveryAttempt, Obligation
from monitor import __version__
from monitor.engine_settings import Kafka
from pipelines import documents, view
from pipelines.aggregate import Aggregate
from pipelines.notify import OPERATION, Notify
from pipelines.score import Score
from pipelines.streams import base
from pipelines.streams.layout import BROADCAST, partitions

PREFIX = str(Kafka.model_fields["topic_prefix"].default)
COUNT = int(Kafka.model_fields["partitions"].default)


class Message(msgspec.Struct, frozen=True):
    """One kind of record of a topic. ``key``: what its key is; ``fixed``: the key itself, where there is but one."""

    record: type[msgspec.Struct]
    key: str
    summary: str
    fixed: str | None = None
    headers: dict[str, str] = {}


class Topic(msgspec.Struct, frozen=True):
    """What a topic holds and who writes it; who reads it is asked of the stages themselves."""

    summary: str
    writers: tuple[str, ...]
    messages: tuple[Message, ...]


WATERMARK = Message(
    documents.Watermark,
    "Always the same.",
    "Up to when the topic is complete. Goes to every partition four times a second; time passes for open alerts only "
    "with it.",
    fixed=base.WATERMARK,
    headers={"origin": "Partition of `documents` that the watermark speaks for, in digits; 0 where there is none."},
)

TOPICS: Mapping[str, Topic] = {
    base.DOCUMENTS: Topic(
        "Accepted texts. Other producers may write here too: what does not fit becomes a dead letter.",
        ("ingest", "others"),
        (Message(documents.Document, "The document's id.", "A text with its identity and its clocks."), WATERMARK),
    ),
    base.SCORES: Topic(
        "Every document with its judgement.",
        ("score",),
        (Message(documents.ScoredDocument, "The document's id.", "A text with sentiment, topic and companies."),),
    ),
    base.EVIDENCE: Topic(
        "What documents say about watched keys.",
        ("score",),
        (Message(documents.Evidence, "The watched key.", "What one document says about one key."), WATERMARK),
    ),
    base.PROFILES: Topic(
        "The week's shape and the population's rates, a copy in each partition.",
        ("aggregate",),
        (Message(Profile, "The profile's version.", "Valid from `effective_from` on."),),
    ),
    base.SOURCES: Topic(
        "The sources' health, a copy in each partition.",
        ("ingest",),
        (Message(documents.SourceRecord, "The source's name.", "A source's health: the latest is what holds."),),
    ),
    base.CANDIDATES: Topic(
        "Episodes' events before merging, and events about the daemon itself.",
        ("aggregate", "ingest"),
        (
            Message(documents.Candidate, "The watched key.", "An episode's event on its way to notify."),
            Message(documents.Operation, f"`{OPERATION}` and the event's subject.", "An `ops.*` event."),
        ),
    ),
    base.COMMANDS: Topic(
        "What operators asked for.",
        ("view",),
        (Message(documents.Command, "What it is about.", "A silence, a retry, a verdict on an alert."),),
    ),
    base.SERIES: Topic(
        "What was counted against what was expected.",
        ("aggregate",),
        (Message(documents.SeriesPoint, "The watched key.", "A block of a key and class; its latest point holds."),),
    ),
    base.READINGS: Topic(
        "What texts are to the model, for the drift watch.",
        ("score",),
        (Message(documents.Reading, "The model.", "Texts of a batch by class, measure and bin."),),
    ),
    base.ALERTS: Topic(
        "Alert events after silences and routing.",
        ("notify",),
        (Message(documents.AlertRecord, "The alert's key.", "An event with the body that webhooks get."),),
    ),
    base.OUTBOX: Topic(
        "What is owed to channels, and how it stands.",
        ("notify",),
        (Message(Obligation, "Event id and channel, with | between.", "One event owed to one channel."),),
    ),
    base.DELIVERIES: Topic(
        "Attempts to deliver.",
        ("notify",),
        (Message(DeliveryAttempt, "Event id and channel, with | between.", "An attempt and its result."),),
    ),
    base.DEAD_LETTERS: Topic(
        "Records that could not be handled.",
        ("score", "aggregate", "notify"),
        (Message(documents.DeadLetter, "The record's key.", "A record's bytes in base64, with the reason."),),
    ),
}  # fmt: skip


def document() -> dict[str, Any]:
    """The AsyncAPI document."""
    kinds = {message.record for topic in TOPICS.values() for message in topic.messages}
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "tapewatch on Kafka",
            "version": __version__,
            "description": 'The topics of `[engine] kind = "kafka"`. Records are JSON; readers ignore fields that they '
            "don't know, and a schema number that they don't know makes a dead letter.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name, topic) for name, topic in TOPICS.items()},
        "operations": dict(_operations()),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "messages": {
                message.record.__name__: _message(message) for topic in TOPICS.values() for message in topic.messages
            },
        },
    }


def _channel(name: str, topic: Topic) -> dict[str, Any]:
    copies = " Every partition has a copy of each record." if name in BROADCAST else ""
    return {
        "address": f"{{prefix}}{name}",
        "summary": topic.summary,
        "description": f"`[engine.kafka] partitions` decides how many there are, but for topics with one.{copies}",
        "messages": {
            message.record.__name__: {"$ref": f"#/components/messages/{message.record.__name__}"}
            for message in topic.messages
        },
        "parameters": {"prefix": {"default": PREFIX, "description": "`[engine.kafka] topic_prefix`."}},
        "bindings": {"kafka": {"partitions": partitions(name, COUNT), "bindingVersion": "0.5.0"}},
    }


def _message(message: Message) -> dict[str, Any]:
    key: dict[str, Any] = {"type": "string", "description": message.key}
    if message.fixed is not None:
        key["const"] = message.fixed
    told: dict[str, Any] = {
        "name": message.record.__name__,
        "summary": message.summary,
        "payload": {"$ref": f"#/components/schemas/{message.record.__name__}"},
        "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
    }
    if message.headers:
        properties = {name: {"type": "string", "description": what} for name, what in message.headers.items()}
        told["headers"] = {"type": "object", "properties": properties}
    return told


def _operations() -> Sequence[tuple[str, dict[str, Any]]]:
    readers: dict[str, Sequence[str]] = {
        **{stage.name: stage.inputs for stage in (Score, Aggregate, Notify)},
        "view": view.TOPICS,
    }
    found = []
    for name, topic in TOPICS.items():
        pairs = [(writer, "send") for writer in topic.writers if writer != "others"]
        pairs += [(reader, "receive") for reader, inputs in readers.items() if name in inputs]
        for part, action in pairs:
            verb = "writes" if action == "send" else "reads"
            told = {"action": action, "channel": {"$ref": f"#/channels/{name}"}, "summary": f"{part} {verb} it."}
            found.append((f"{part}-{verb}-{name}", told))
    return found

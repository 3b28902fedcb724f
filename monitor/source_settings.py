"""The sections of sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import Field, field_validator, model_validator

from monitor.kafka_settings import KafkaAccess
from monitor.sections import UNITS, Class, Duration, Name, Section, most

Route = Annotated[str, Field(min_length=1)]
"""Names of objects within objects, with dots between them, as in body.plain."""


class FieldSettings(Section):
    """Where a document's fields are in a record of another's topic: paths with dots, as in body.plain."""

    id: Route | None = Field(None, description="Its lasting id; without one, its topic, partition and offset.")
    url: Route | None = Field(None, description="Its address.")
    title: Route | None = Field(None, description="Its headline; this or text must be given.")
    text: Route | None = Field(None, description="Its words.")
    published: Route | None = Field(
        None,
        description="When it was published: ISO 8601, seconds or milliseconds since 1970, as the value shows. Without "
        "one: when it was written to the topic.",
    )
    publisher: Route | None = Field(None, description="Who published it.")
    author: Route | None = Field(None, description="Who wrote it.")
    language: Route | None = Field(None, description="Its language, as in en.")

    @model_validator(mode="after")
    def _words(self) -> FieldSettings:
        if self.title is None and self.text is None:
            raise ValueError('fields needs title or text, as in { title = "headline", text = "body.plain" }')
        return self


class _Named(Section):
    """What every source may say of itself."""

    kind: Literal["feed", "file", "stdin", "kafka"] = Field(
        description="feed: RSS, RDF, Atom or JSON Feed; file: a file or folder; stdin: what is piped into the daemon; "
        "kafka: a topic of one's own."
    )
    name: Name = Field(description="Its name, in metrics, records and logs.")
    url: str | None = Field(None, description="Address of a feed.")
    path: Path | None = Field(None, description="File or folder of a file source.")
    follow: bool | None = Field(None, description="file: go on reading what is added (default true).")
    interval: Annotated[Duration, most(7 * UNITS["d"])] | None = Field(
        None, description="Time between polls, 1s to 7d; wins over what the feed asks for."
    )
    publisher: str | None = Field(None, description="Whose texts these are, where items don't say.")
    class_: Class = Field("news", alias="class", description="news, filing or social.")
    timezone: str | None = Field(None, description="Time zone of dates that name none, as in Asia/Shanghai.")
    topic: str | None = Field(None, pattern=r"^[a-zA-Z0-9._-]{1,249}$", description="kafka: the topic to read.")
    fields: FieldSettings | None = Field(None, description="kafka: where a document's fields are, a table (below).")
    start: Literal["latest", "earliest"] | None = Field(
        None, description="kafka: where the first start begins: with what comes (latest, the default) or is there."
    )
    group: str | None = Field(
        None,
        pattern=r"^[a-zA-Z0-9._-]{1,249}$",
        description="kafka: group that the place is shown under, for tools that show lag; by default none. The place "
        "itself is kept with the documents.",
    )


_ACCESS = tuple(KafkaAccess.model_fields)
_KAFKA = ("topic", "fields", "start", "group", *_ACCESS)
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "feed": (("url",), ("path", "follow", *_KAFKA)),
    "file": (("path",), ("url", *_KAFKA)),
    "stdin": ((), ("url", "path", "follow", "interval", *_KAFKA)),
    "kafka": (("topic", "fields"), ("url", "path", "follow", "interval")),
}
"""By kind: the keys that a source needs, and those it has not."""


class SourceSettings(KafkaAccess, _Named):
    """One source. From `brokers` on for `kind = "kafka"`, as in `[engine.kafka]`."""

    @model_validator(mode="after")
    def _complete(self) -> SourceSettings:
        needed, unknown = _KEYS[self.kind]
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"a {self.kind} source needs {name}")
        if self.kind == "kafka" and not self.brokers:
            raise ValueError('a kafka source needs brokers, as in ["kafka-1.example:9093"]')
        for name in unknown:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"a {self.kind} source has no {name}")
        return self

    @field_validator("interval")
    @classmethod
    def _seldom(cls, interval: float | None) -> float | None:
        if interval is not None and interval < 1:
            raise ValueError('must be at least "1s"')
        return interval

    @field_validator("timezone")
    @classmethod
    def _zone(cls, zone: str | None) -> str | None:
        if zone is not None and zone not in available_timezones():
            raise ValueError("is no time zone; one is Asia/Shanghai")
        return zone

    def options(self) -> dict[str, object]:
        """What ``pipelines.sources.registry.build`` is given."""
        own = [name for name in _Named.model_fields if name not in ("kind", "fields")]
        options = {name: getattr(self, name) for name in own}
        if self.kind == "kafka" and self.fields is not None:
            options |= {
                "fields": self.fields.model_dump(exclude_none=True),
                "brokers": self.brokers,
                "tls": self.encrypted,
                "sasl": self.sasl,
                "username": self.username,
                "secret": self.credential,
                **{name: getattr(self, name) for name in ("ca_file", "cert_file", "key_file")},
            }
        shown = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
        return {name: value for name, value in shown.items() if value is not None}

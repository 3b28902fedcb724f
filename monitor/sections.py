"""The sections of the settings, but for the engine's: every field described, what can't work refused with a reason."""

from __future__ import annotations

import ipaddress
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    field_validator,
    model_validator,
)

from alerts.body import ROUTED
from alerts.channels import check
from alerts.channels.alertmanager import RESEND
from alerts.channels.base import ChannelConfigError
from alerts.channels.webhook import RECIPE
from monitor.addresses import link, listening, proxy

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_NAME = re.compile(r"\w[\w .\-]{0,63}")
LONGEST = 36_500 * UNITS["d"]
_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d|w)\s*$")


MOST_ALARMS = 30.0
"""Expected false alarms per key and month that may be asked for: one a day."""


def duration(value: Any) -> float:
    """ "90s", "15m", "7d" as seconds."""
    if isinstance(value, bool):
        raise ValueError('a duration is a text with a unit, as in "90s", "15m", "7d"')  # noqa: TRY004 (pydantic wants it)
    if isinstance(value, int | float):
        raise ValueError(f'{value} has no unit; write for example "{value}s"')  # noqa: TRY004 (pydantic wants it)
    found = _DURATION.match(str(value))
    if found is None:
        raise ValueError('a duration is a number and a unit (ms, s, m, h, d, w), as in "90s", "15m", "7d"')
    seconds = float(found[1]) * UNITS[found[2]]
    if seconds > LONGEST:
        raise ValueError('a duration is at most "36500d"')
    return seconds


def spell(seconds: float) -> str:
    """ "7d" of 604800.0: the largest unit, up to days, of which it holds a whole number."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= UNITS[unit] and seconds % UNITS[unit] == 0.0:
            return f"{seconds / UNITS[unit]:.0f}{unit}"
    return f"{seconds:g}s"


def some(seconds: float) -> float:
    """More than no time."""
    if seconds <= 0.0:
        raise ValueError('must be more than 0, as in "90s"')
    return seconds


def most(limit: float) -> AfterValidator:
    """No longer than ``limit`` seconds: what is beyond makes no sense and is a slip."""

    def bounded(seconds: float) -> float:
        if seconds > limit:
            raise ValueError(f'must be at most "{spell(limit)}"')
        return seconds

    return AfterValidator(bounded)


def network(value: Any) -> str:
    """An address range in CIDR form."""
    try:
        return str(ipaddress.ip_network(str(value), strict=False))
    except ValueError as error:
        raise ValueError(f'{error}; a range is written as in "127.0.0.0/8" or "fd00::/8"') from None


def name(value: str) -> str:
    """What a source, watch-list or channel is called."""
    if not _NAME.fullmatch(value):
        raise ValueError(
            "a name begins with a letter, digit or _, and has at most 64 of these, spaces, full stops and hyphens"
        )
    return value


Spelled = PlainSerializer(spell, when_used="json")
Duration = Annotated[float, BeforeValidator(duration), Spelled]
Positive = Annotated[float, BeforeValidator(duration), AfterValidator(some), Spelled]
"""A duration that must not be 0."""
Network = Annotated[str, BeforeValidator(network)]
Name = Annotated[str, AfterValidator(name)]
Listen = Annotated[str, AfterValidator(listening)]
Link = Annotated[str, AfterValidator(link)]
Proxy = Annotated[str, AfterValidator(proxy)]
Class = Literal["news", "filing", "social"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=False)


class Model(Section):
    """The classifier."""

    name: str = Field(
        "default",
        description="The model: a shipped or added one's name, NAME@VERSION, or a model's folder. Once "
        "`tapewatch models use` has chosen another, that one stays in use until this is changed.",
    )
    languages: dict[str, str] = Field(
        {},
        description='Other models for texts of one language, as in {zh = "bilingual"}: named like `name`, and the same '
        "until the next start.",
    )
    registry: Path | None = Field(
        None,
        description="Folder of added models and of what was in use when; left out, `.models` added to the store's name "
        "(Kafka: to data_dir).",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Where it runs. auto takes cuda where it starts, else cpu, and logs which and why; cuda that can't "
        "start is an error, never a silent cpu.",
    )
    threads: int = Field(
        0, ge=0, le=256, description="Passes computed at once on the CPU; 0 is as many as there are cores."
    )
    memory_mb: int | None = Field(
        None,
        ge=256,
        description="Ceiling in MB of what the model takes on the GPU, CUDA's own context aside; what is too little is "
        "refused at the start.",
    )


class Detection(Section):
    """When it rings."""

    false_alarms_per_key_month: float = Field(
        0.05, gt=0, le=MOST_ALARMS, description="Expected false alarms per key and month."
    )
    max_age: Positive = Field(86_400.0, description="Items published longer ago are counted and dropped.")
    lateness: Annotated[Duration, most(7 * UNITS["d"])] = Field(
        600.0, description="How far an item may lag behind its key's clock and still count; at most 7d."
    )
    min_open: Annotated[Duration, most(7 * UNITS["d"])] = Field(
        600.0, description="Shortest time that an alert stays open; at most 7d."
    )


class Alerts(Section):
    """How alerts speak."""

    language: Literal["en", "zh"] = Field(
        "en", description="Language of an alert's summary: English, or Chinese (简体). The rest of it is data."
    )
    explain_within: Annotated[Duration, most(5.0)] = Field(
        0.1,
        description="How long the alerts of a batch may wait for the phrases that make their headlines bad news; at "
        "most 5s, and 0s looks for none.",
    )


class Retention(Section):
    """How long texts are kept."""

    texts: Duration | None = Field(
        None,
        description="Longest time that a text is kept in any form, from when it was taken in; at least 2d more than "
        "engine.retention. Default: not bounded.",
    )


class EntitySettings(Section):
    """A company of one's own in a watch-list."""

    name: str = Field(min_length=2, description="Its name as texts write it.")
    tickers: tuple[str, ...] = Field((), description="Its tickers.")
    aliases: tuple[str, ...] = Field((), description="Other names that texts use.")
    associates: tuple[str, ...] = Field((), description="People and brands that stand for it.")
    context: tuple[str, ...] = Field((), description="Words near which a name that is an everyday word means it.")
    id: str | None = Field(None, description="Its id in keys; default: the slug of its name.")
    calendar: str | None = Field(
        None,
        description="Trading calendar of the exchange that it is tied to, by its market identifier code, as in XNYS; "
        "closed days then count as weekends. Default: none. The built-in companies have their exchange's.",
    )


class WatchListSettings(Section):
    """What is watched."""

    name: Name = Field(description="Its name; the list's own key is list:NAME.")
    entities: tuple[str | EntitySettings, ...] = Field((), description="Companies: tickers, names, or tables.")
    topics: tuple[str, ...] = Field((), description="Topics, spelled as in the model's card.")
    false_alarms_per_key_month: float | None = Field(
        None, gt=0, le=MOST_ALARMS, description="Expected false alarms per key and month on this list."
    )
    false_alarms_per_list_month: float | None = Field(
        None,
        gt=0,
        lt=float("inf"),
        description="Expected false alarms a month of the whole list, instead: each of its keys gets an equal share.",
    )

    @model_validator(mode="after")
    def _one_budget(self) -> WatchListSettings:
        each, whole = self.false_alarms_per_key_month, self.false_alarms_per_list_month
        if each is not None and whole is not None:
            raise ValueError(
                f"has false_alarms_per_key_month = {each:g} and false_alarms_per_list_month = {whole:g}; give one: the "
                "one is each key's, the other is shared by all keys of the list"
            )
        return self


_CHANNEL_KEYS: dict[str, tuple[str, ...]] = {
    "webhook": ("username", "labels", "resend"),
    "alertmanager": ("secrets",),
}
"""By kind: the keys that a channel has not."""


class ChannelSettings(Section):
    """Where alerts go."""

    kind: Literal["webhook", "alertmanager"] = Field(
        description="webhook: Standard Webhooks 1.0.0; alertmanager: a Prometheus Alertmanager, API v2."
    )
    name: Name = Field(description="Its name, in routes and metrics.")
    url: SecretStr = Field(description="Address of the receiver; https unless allow_private covers it.")
    secret: SecretStr | None = Field(
        None, description="webhook: signing secret, whsec_ and base64; alertmanager: password, or a bearer token."
    )
    secret_file: Path | None = Field(None, description="File that holds the secret.")
    secrets: tuple[SecretStr, ...] = Field(
        (), description="webhook: several secrets, the newest first, while one is rotated."
    )
    username: str | None = Field(None, description="alertmanager: who signs in; without it secret is a bearer token.")
    labels: dict[str, str] | None = Field(None, description="alertmanager: labels added to every alert.")
    resend: Duration | None = Field(
        None, description='alertmanager: time between two tellings of an alert that lasts (default "1m").'
    )
    timeout: Duration = Field(20.0, description="Time for an answer.")

    @model_validator(mode="after")
    def _usable(self) -> ChannelSettings:
        for name in _CHANNEL_KEYS[self.kind]:
            if getattr(self, name) not in (None, ()):
                raise ValueError(f"a channel of kind {self.kind} has no {name}")
        given = sum([self.secret is not None, self.secret_file is not None, bool(self.secrets)])
        if given > 1 or (self.kind == "webhook" and not given):
            recipe = f"; {RECIPE} > desk.secret" if self.kind == "webhook" and not given else ""
            raise ValueError(f"give exactly one of secret, secret_file and secrets{recipe}")
        try:
            check(self.kind, self.options())
        except ChannelConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def keys(self) -> list[str]:
        """The secrets, the newest first."""
        if self.secret_file is not None:
            try:
                return [line.strip() for line in self.secret_file.read_text().splitlines() if line.strip()]
            except OSError as error:
                missing = self.kind == "webhook" and isinstance(error, FileNotFoundError)
                recipe = f"; {RECIPE} > {self.secret_file}" if missing else ""
                raise ValueError(f"secret_file {self.secret_file}: {error.strerror}{recipe}") from None
            except UnicodeDecodeError:
                raise ValueError(f"secret_file {self.secret_file}: holds no text") from None
        chosen = self.secrets or ((self.secret,) if self.secret is not None else ())
        return [secret.get_secret_value() for secret in chosen]

    def options(self) -> dict[str, object]:
        """What ``alerts.channels.build`` is given."""
        options: dict[str, object] = {"url": self.url.get_secret_value(), "timeout": self.timeout}
        if self.kind == "webhook":
            return options | {"secrets": self.keys()}
        given = {"username": self.username, "labels": self.labels, "resend": self.resend}
        options |= {name: value for name, value in given.items() if value is not None}
        return options | {"secret": next(iter(self.keys()), "")}

    @property
    def resends(self) -> float | None:
        """Seconds between two tellings of an alert that lasts, where the receiver holds alerts."""
        return (self.resend or RESEND) if self.kind == "alertmanager" else None


class RouteSettings(Section):
    """Who is told of what; the first that matches decides."""

    types: tuple[str, ...] = Field(("alert.*",), description="Event types as shell patterns.")
    watchlists: tuple[str, ...] = Field((), description="Names of watch-lists.")
    keys: tuple[str, ...] = Field((), description="Keys as shell patterns.")
    severities: tuple[Literal["info", "warning", "error", "critical"], ...] = Field((), description="Severities.")
    channels: tuple[str, ...] = Field(description="Names of channels; none tells nobody.")

    @field_validator("types")
    @classmethod
    def _known(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        """A pattern that no event ever matches would lose what it was written for."""
        for pattern in patterns:
            if not any(fnmatchcase(known, pattern) for known in ROUTED):
                raise ValueError(f"{pattern!r} matches no event type; types are {', '.join(ROUTED)}")
        return patterns


class SilenceSettings(Section):
    """Keeps alerts from being sent for a time."""

    keys: tuple[str, ...] = Field((), description="Keys as shell patterns.")
    watchlists: tuple[str, ...] = Field((), description="Names of watch-lists.")
    severities: tuple[Literal["info", "warning", "error", "critical"], ...] = Field((), description="Severities.")
    until: str = Field(description="When it ends, ISO 8601 with an offset.")
    comment: str = Field("", description="Why.")


class NetworkSettings(Section):
    """What may be dialled."""

    allow_private: tuple[Network, ...] = Field((), description="Private ranges that may be dialled, as in 127.0.0.0/8.")
    proxy: Proxy | None = Field(None, description="HTTP proxy; the guard then checks names and literals only.")
    ca_file: Path | None = Field(None, description="Certificates to trust instead of the system's.")
    user_agent: str | None = Field(None, description="User-Agent with a contact, which some feeds demand.")

    @field_validator("user_agent")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        if value is not None and not (value and value.isascii() and value.isprintable()):
            raise ValueError("a User-Agent is one line of ASCII, as in tapewatch (desk@bank.example)")
        return value


class Log(Section):
    """Logs on standard error."""

    format: Literal["console", "json"] = Field("console", description="console for people, json for machines.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is written.")

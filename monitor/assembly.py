"""What the settings mean: watch-lists, rules, routes, silences as the stages take them; channels and sources built."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
import structlog

from alerts.channels import Channel
from alerts.channels import build as build_channel
from alerts.detector import VERSION as DETECTOR_VERSION
from alerts.rules import Matcher, Route, Rules, Silence
from monitor import __version__
from monitor.addresses import page_of
from monitor.http import USER_AGENT, GuardedClient
from monitor.rule_settings import rules_of
from monitor.sections import MOST_ALARMS, ChannelSettings, NetworkSettings, WatchListSettings
from monitor.settings import Settings, SettingsError
from monitor.source_settings import SourceSettings
from pipelines.entities import EntityConfigError, EntityIndex, resolve
from pipelines.particulars import Context
from pipelines.sources import registry
from pipelines.sources.base import Source, SourceConfigError, Tools
from pipelines.surroundings import is_commonplace
from pipelines.universe import Entity, load_universe
from pipelines.watch import Watch, WatchList, entity_key, list_key

log = structlog.get_logger(__name__)


class Parts(msgspec.Struct):
    """What the settings' lists became."""

    watch: Watch
    entities: EntityIndex
    routes: tuple[Route, ...]
    silences: tuple[Silence, ...]
    rules: Rules


def assemble(settings: Settings, topics: Sequence[str], risks: Sequence[str] = ()) -> Parts:
    """Watch-lists, rules, routes and silences from settings. ``topics``, ``risks``: the model's; of the latter none
    without a head for adverse events. Raises SettingsError with the key that can't work."""
    universe = load_universe()
    lists = [
        _watchlist(f"{settings.file}: watchlists #{number} ({entry.name})", entry, universe, topics)
        for number, entry in enumerate(settings.watchlists, 1)
    ]
    _check_ids(settings, lists)
    watch = Watch(lists, topics)
    _check_rules(settings, topics, risks)
    routes = tuple(
        Route(
            types=entry.types,
            watchlists=entry.watchlists,
            keys=entry.keys,
            severities=entry.severities,
            channels=entry.channels,
        )
        for entry in settings.routes
    )
    # The user's own companies come first: where names clash, theirs is meant.
    entities = EntityIndex([*watch.entities(), *universe])
    return Parts(watch, entities, routes, _silences(settings), rules_of(settings.rules))


def _watchlist(where: str, entry: WatchListSettings, universe: Sequence[Entity], topics: Sequence[str]) -> WatchList:
    entities = []
    for spec in entry.entities:
        try:
            entities.append(resolve(spec if isinstance(spec, str) else spec.model_dump(exclude_none=True), universe))
        except EntityConfigError as error:
            raise SettingsError(f"{where}: entities: {error}") from None
        _warn(where, entities[-1])
    for label in entry.topics:
        if label not in topics:
            raise SettingsError(f"{where}: topics: {label!r} is none of the model's topics: {', '.join(topics)}")
    watched = WatchList(
        name=entry.name,
        entities=tuple(entities),
        topics=entry.topics,
        budget=entry.false_alarms_per_key_month,
        shared=entry.false_alarms_per_list_month,
    )
    count, shared = len(watched.watched()), entry.false_alarms_per_list_month
    if shared is not None and not count:
        raise SettingsError(f"{where}: false_alarms_per_list_month {shared:g}: the list has no keys to share it")
    if shared is not None and shared / count > MOST_ALARMS:
        raise SettingsError(
            f"{where}: false_alarms_per_list_month {shared:g}: is {shared / count:g} for each of its keys; at most "
            f"{MOST_ALARMS * count:g}, which is {MOST_ALARMS:g} for each"
        )
    return watched


def _warn(where: str, entity: Entity) -> None:
    """Of names that count in part of their mentions only."""
    named = (entity.name, *entity.aliases, *entity.associates) if entity.custom and not entity.context else ()
    for text in filter(is_commonplace, named):
        why = "an everyday word counts where signs of a company stand beside it; give context = [such words]"
        log.warning("everyday_word", action="guard", where=f"{where}: entities", name=text, why=why)


def _check_ids(settings: Settings, lists: Sequence[WatchList]) -> None:
    """Keys are told apart by ids and slugs: two things with one would be taken for each other."""
    known: dict[str, tuple[str, object]] = {}
    for number, watched in enumerate(lists, 1):
        where = f"watchlists #{number} ({watched.name})"
        for key, what, thing in (
            (list_key(watched.name), "name", watched),
            *((entity_key(one.id), f"entities: {one.name!r}", one) for one in watched.entities),
        ):
            first, other = known.setdefault(key, (f"{where}.{what}", thing))
            if other != thing:
                remedy = "another name" if thing is watched else "another id"
                raise SettingsError(f"{settings.file}: {where}.{what}: has the key {key} of {first}; give one {remedy}")


def _check_rules(settings: Settings, topics: Sequence[str], risks: Sequence[str]) -> None:
    """A rule for what the model never names would never ring."""
    for number, entry in enumerate(settings.rules, 1):
        where = f"{settings.file}: rules #{number} ({entry.name})"
        for what, asked, known in (("risks", entry.risks, risks), ("topics", entry.topics, topics)):
            for label in asked or ():
                if label not in known:
                    remedy = ", ".join(known) or "none: it has no head for adverse events; give phrases or topics"
                    raise SettingsError(f"{where}: {what}: {label!r} is none of the model's {what}: {remedy}")


def _silences(settings: Settings) -> tuple[Silence, ...]:
    found = []
    for number, entry in enumerate(settings.silences, 1):
        where = f"{settings.file}: silences #{number}: until {entry.until!r}"
        try:
            until = datetime.fromisoformat(entry.until)
        except ValueError:
            raise SettingsError(f"{where} is not ISO 8601, as in 2026-01-31T12:00:00Z") from None
        if until.tzinfo is None:
            raise SettingsError(f"{where} needs an offset, as in 2026-01-31T12:00:00Z")
        match = Matcher(keys=entry.keys, watchlists=entry.watchlists, severities=entry.severities)
        expires = until.timestamp()
        found.append(Silence(id=f"settings-{number}", match=match, created=0.0, expires=expires, comment=entry.comment))
    return tuple(found)


def alert_context(settings: Settings, *, page: bool) -> Context:
    """What alerts say of the daemon. ``page``: whether the page is this process's."""
    here = page_of(settings.web.listen) if page else ""
    return Context(
        version=__version__,
        detector=DETECTOR_VERSION,
        configuration=settings.sha256()[:12],
        budget=settings.detection.false_alarms_per_key_month,
        external_url=settings.web.external_url or here,
        grafana_url=settings.web.grafana_url,
        settings=settings.file,
        language=settings.alerts.language,
    )


def client(network: NetworkSettings) -> GuardedClient:
    """The guarded HTTP client of sources and channels."""
    return GuardedClient(
        network.allow_private,
        proxy=network.proxy,
        ca_file=str(network.ca_file) if network.ca_file else None,
        user_agent=network.user_agent or USER_AGENT,
    )


def channel(entry: ChannelSettings, http: GuardedClient) -> Channel:
    return build_channel(entry.kind, entry.name, entry.options(), http)


def source(entry: SourceSettings, tools: Tools) -> Source:
    """Raises SettingsError where it can't work."""
    try:
        return registry.build(entry.kind, entry.options(), tools)
    except SourceConfigError as error:
        raise SettingsError(f"sources: {error}") from None

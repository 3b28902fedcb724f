"""What the API is asked to do."""

from __future__ import annotations

from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from alerts.channels.base import Outcome
from alerts.episode import Severity
from alerts.rules import Matcher
from alerts.wording import NAME, plain
from models.card import ModelError
from monitor import audited, shapes
from monitor.app import PARTS, Daemon
from monitor.intake import Accepted
from monitor.problems import Problem, body_of, moment
from monitor.routes import Asked, Nothing, route
from monitor.sections import duration
from monitor.settings import SettingsError

By = Annotated[str, Meta(description=f"Who asks for it, for the audit log; up to {NAME} characters.")]


class SilenceOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """keys, watchlists and severities (info, warning, error, critical) are lists: each that is given has to fit;
    until is 2h, 3d or a time in ISO 8601, as in 2026-01-31T12:00:00Z; author and comment are texts."""

    keys: Annotated[list[str], Meta(description="Keys or shell patterns of them, as in `topic:*`.")] = []
    watchlists: list[str] = []
    severities: list[Severity] = []
    until: Annotated[
        str | float | None, Meta(description="How long it lasts, as in `2h` or `3d`, or when it ends, ISO 8601.")
    ] = None
    author: str = ""
    comment: str = ""


class ModelOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """model is NAME, NAME@VERSION or NAME@DIGEST; GET /api/v1/models lists them."""

    model: Annotated[str, Meta(min_length=1, description="NAME, NAME@VERSION or NAME@DIGEST.")]
    by: By = ""


class Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """by is a text: who asks for it, for the audit log."""

    by: By = ""


class SignedQuery(msgspec.Struct, frozen=True, kw_only=True):
    by: By = ""


class Orders:
    """Handlers of what changes something."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    @route(
        "POST",
        "/api/v1/documents",
        answer=Accepted,
        status=202,
        writes=True,
        raw=True,
        body=shapes.Posted | list[shapes.Posted],
    )
    async def accept(self, asked: Asked[Nothing, None]) -> Any:
        """Documents as JSON or JSON Lines; 202 once they are durable, with the lines or entries that were bad."""
        body = await body_of(asked.request)
        result = await self._daemon.intake.accept(body, asked.request.content_type)
        taken = result.accepted + result.duplicate + result.revision + result.stale + result.oversize
        if not taken:
            nothing = "no document holds readable text" if result.empty else "the body is empty"
            detail = "no line could be read" if result.invalid else nothing
            raise Problem(422, "No document", detail, invalid=result.invalid[:100])
        return result

    @route("POST", "/api/v1/silences", answer=shapes.Named, status=201, writes=True, body=SilenceOrder)
    async def silence(self, asked: Asked[Nothing, SilenceOrder]) -> Any:
        """Keeps matching alerts from being sent until a time."""
        order = asked.body
        match = {name: value for name in ("keys", "watchlists", "severities") if (value := getattr(order, name))}
        if not match:
            raise Problem(422, "Matches everything", "give keys, watchlists or severities")
        known = [entry.name for entry in self._daemon.settings.watchlists]
        if unknown := [name for name in order.watchlists if name not in known]:
            raise Problem(422, "No such watch-list", f"{unknown[0]!r} is not among {known}")
        self._check_keys(msgspec.convert(match, Matcher))
        expires = self._end(order.until)
        if expires <= self._daemon.now():
            raise Problem(422, "Over already", "until is in the past")
        return {"id": await self._daemon.operators.add_silence(match, expires, order.author, order.comment)}

    def _check_keys(self, matcher: Matcher) -> None:
        """A pattern of keys that nothing here is called by would hush nothing, without a word."""
        settings = self._daemon.settings
        subjects = [*self._daemon.parts.watch.keys, *PARTS, *(source.name for source in settings.sources)]
        subjects += [channel.name for channel in settings.channels]
        for pattern in matcher.keys:
            if not any(fnmatchcase(subject, pattern) for subject in subjects):
                near = get_close_matches(pattern, subjects, 1, cutoff=0.5)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise Problem(422, "No such key", f"{pattern!r} matches no watched key, source or channel{hint}")

    def _end(self, until: str | float | None) -> float:
        """When a silence ends, of a time or of how long it lasts."""
        if until in (None, "", 0):
            raise Problem(422, "No end", "until is 2h, 3d or a time in ISO 8601, as in 2026-01-31T12:00:00Z")
        try:
            return self._daemon.now() + duration(until)
        except ValueError:
            pass
        try:
            return moment(until)
        except ValueError as error:
            detail = f"until {str(until)[:40]!r}: {error}; it is 2h, 3d or a time, as in 2026-01-31T12:00:00Z"
            raise Problem(422, "Bad time", detail) from None

    @route("DELETE", "/api/v1/silences/{id}", answer=shapes.Named, status=202, writes=True, query=SignedQuery)
    async def expire(self, asked: Asked[Any, None]) -> Any:
        """Ends a silence."""
        name = asked.id
        known = {str(silence["id"]) for silence in await self._daemon.operators.silences()}
        if name not in known:
            raise Problem(404, "No such silence", f"none has the id {name!r}; `tapewatch silences list` shows them")
        if self._daemon.operators.is_configured(name):
            raise Problem(409, "Not yours to end", "it stands in the settings: take it out there and reload")
        return {"id": await self._daemon.operators.command("expire_silence", name, {"by": _who(asked.query)})}

    @route("POST", "/api/v1/deliveries/{id}/retry", answer=shapes.Named, status=202, writes=True, body=Signed)
    async def retry(self, asked: Asked[Nothing, Signed | None]) -> Any:
        """Owes a delivery anew, at once."""
        name = asked.id
        state = await self._daemon.operators.delivery(name)
        if state is None:
            raise Problem(404, "No such delivery", f"none has the id {name!r}; `tapewatch deliveries list` shows them")
        if state in ("delivered", "standing"):
            raise Problem(409, "Delivered already", "what was delivered is not sent again")
        details = {"by": _who(asked.body), "before": state}
        return {"id": await self._daemon.operators.command("retry_delivery", name, details)}

    @route("POST", "/api/v1/dead-letters/{id}/retry", answer=shapes.Named, status=202, writes=True, body=Signed)
    async def retry_letter(self, asked: Asked[Nothing, Signed | None]) -> Any:
        """Puts a dead letter back on its topic."""
        name = asked.id
        number = int(name) if name.isascii() and name.isdecimal() and len(name) < 19 else -1
        if not await self._daemon.operators.retry_dead_letter(number, _who(asked.body)):
            raise Problem(
                404, "No such dead letter", f"none has the number {name}; `tapewatch dead-letters list` shows them"
            )
        return {"id": name}

    @route("POST", "/api/v1/channels/{id}/test", answer=Outcome, writes=True)
    async def test(self, asked: Asked[Nothing, None]) -> Any:
        """Sends a signed test event."""
        outcome = await self._daemon.sender.test(asked.id)
        if outcome is None:
            known = ", ".join(channel.name for channel in self._daemon.settings.channels) or "none"
            raise Problem(404, "No such channel", f"none is called {asked.id[:100]!r}; configured: {known}")
        return outcome

    @route("POST", "/api/v1/models/use", answer=shapes.Switched, writes=True, body=ModelOrder)
    async def use(self, asked: Asked[Nothing, ModelOrder]) -> Any:
        """Judges with another model from the next batch on, once it is loaded and says what it should."""
        return await self._switched(asked.body.model, _who(asked.body))

    @route("POST", "/api/v1/models/rollback", answer=shapes.Switched, writes=True, body=Signed)
    async def rollback(self, asked: Asked[Nothing, Signed | None]) -> Any:
        """The same with the model that was in use before."""
        return await self._switched(None, _who(asked.body))

    async def _switched(self, reference: str | None, by: str) -> Any:
        try:
            gone = await audited.use(self._daemon, reference, by=by)
        except (ModelError, SettingsError) as error:
            raise Problem(422, "Model refused", str(error)) from None
        return {"model": self._daemon.model.name, "until_now": gone, **self._daemon.model_use.status()}

    @route("POST", "/api/v1/reload", answer=shapes.Reloaded, writes=True, body=Signed)
    async def reload(self, asked: Asked[Nothing, Signed | None]) -> Any:
        """Reads the settings again; they are validated before anything changes."""
        try:
            return {"changed": await audited.reload(self._daemon, by=_who(asked.body))}
        except SettingsError as error:
            raise Problem(422, "Settings refused", str(error)) from None


def _who(said: Any) -> str:
    """Who asks for it, where somebody says so."""
    return plain(getattr(said, "by", ""), NAME)

"""A route of the API, declared once: its path, what it may be asked, what it answers. Requests are decoded by it, and
the OpenAPI document is written from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2s
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import web
from msgspec import inspect

from monitor.problems import Handler, Problem, answer, body_of, moment

Q = TypeVar("Q", bound=msgspec.Struct)
B = TypeVar("B")


class Nothing(msgspec.Struct, frozen=True):
    """No parameters."""


class Instant(float):
    """A time that a caller gives, as seconds since 1970."""

    description = "ISO 8601 with an offset, as in 2026-01-31T12:00:00Z, or seconds since 1970"


@dataclass(frozen=True)
class Asked(Generic[Q, B]):
    """A request, decoded by its route."""

    request: web.Request
    query: Q
    body: B

    @property
    def id(self) -> str:
        """What the path names."""
        return self.request.match_info["id"]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """``answer``: the type of what is answered; of ``media`` other than JSON, None. ``body``: the type of what is sent,
    None for nothing; with ``raw`` the handler reads it itself. ``writes``: needs the right to."""

    method: str
    path: str
    summary: str
    answer: Any = None
    query: type[msgspec.Struct] = Nothing
    body: Any = None
    raw: bool = False
    status: int = 200
    also: dict[int, str] = {}
    writes: bool = False
    media: str = "application/json"
    held: bool = False
    """Told from the read model alone: an answer stays true until that changes."""
    handler: str = ""


Method = TypeVar("Method", bound=Callable[..., Awaitable[Any]])


def route(method: str, path: str, **facts: Any) -> Callable[[Method], Method]:
    """Declares a handler: a method ``(self, asked)`` that returns what is to be told, or a response. The first
    paragraph of its docstring is the summary."""

    def declare(handler: Method) -> Method:
        summary = " ".join((handler.__doc__ or "").split("\n\n")[0].split())
        declared = Route(method=method, path=path, summary=summary, handler=handler.__name__, **facts)
        handler.__dict__["route"] = declared
        return handler

    return declare


def declared(*kinds: type) -> list[Route]:
    """The routes of some classes, in the order in which they stand there."""
    return [one.route for kind in kinds for one in vars(kind).values() if hasattr(one, "route")]


Version = Callable[[], str]
"""Names what the read model holds; raises where there is none here."""


def mounted(holder: object, writer: Callable[[Handler], Handler], version: Version) -> list[web.RouteDef]:
    """The routes of an object for aiohttp. ``writer`` wraps those that change something in the question who may."""
    found = []
    for one in declared(type(holder)):
        handler = _decoding(one, getattr(holder, one.handler))
        if one.held:
            handler = _validated(handler, version)
        found.append(web.route(one.method, one.path, writer(handler) if one.writes else handler))
    return found


def _decoding(one: Route, handler: Callable[[Asked[Any, Any]], Awaitable[Any]]) -> Handler:
    async def decoded(request: web.Request) -> web.StreamResponse:
        query = query_of(one.query, request)
        body = None if one.body is None or one.raw else _body(one.body, await body_of(request))
        told = await handler(Asked(request, query, body))
        return told if isinstance(told, web.StreamResponse) else answer(told, one.status)

    return decoded


def _validated(handler: Handler, version: Version) -> Handler:
    """With an ETag, and 304 for who has the answer already."""

    async def validated(request: web.Request) -> web.StreamResponse:
        # Named before it is asked: an answer may be newer than its tag, which costs one more question at most.
        said = f"{version()} {request.path_qs}".encode(errors="surrogateescape")
        tag = f'W/"{blake2s(said, digest_size=9).hexdigest()}"'
        known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
        headers = {"etag": tag, "cache-control": "no-cache"}
        if tag in known or tag.removeprefix("W/") in known:
            return web.Response(status=304, headers=headers)
        response = await handler(request)
        response.headers.update(headers)
        return response

    return validated


def _body(kind: Any, body: bytes) -> Any:
    """What is sent. Raises Problem, which says what the body may be as its type's docstring does."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        title = "Bad body" if isinstance(error, msgspec.ValidationError) else "Not JSON"
        wanted = " ".join((kind.__doc__ or "").split())
        raise Problem(422, title, f"{error}; {wanted}" if wanted else str(error)) from None


# -- queries ----------------------------------------------------------------------------------------------


def query_of(kind: type[Q], request: web.Request) -> Q:
    """The query of a request. Raises Problem, which names parameter, value and what is allowed."""
    fields = _fields(kind)
    for name in request.query:
        if name not in fields:
            known = ", ".join(fields) or "none"
            raise refused(name, request.query[name], f"unknown; known here: {known}", "no such parameter")
    values = {
        name: _value(name, request.query.getall(name), type_) for name, type_ in fields.items() if name in request.query
    }
    for field in msgspec.structs.fields(kind):
        if field.required and field.encode_name not in values:
            raise Problem(400, "Bad query", f"{field.encode_name} is missing", parameter=field.encode_name)
    found = kind(**{field.name: values[field.encode_name] for field in msgspec.structs.fields(kind)
                    if field.encode_name in values})  # fmt: skip
    since, until = getattr(found, "since", None), getattr(found, "until", None)
    if since is not None and until is not None and until <= since:
        raise refused("until", request.query["until"], f"after since ({request.query['since'][:40]})", "reversed range")
    return found


def refused(name: str, value: str, wanted: str, why: str = "") -> Problem:
    """A parameter that can't be used."""
    shown = value if len(value) <= 60 else value[:60] + "…"
    detail = f"{name}={shown!r} can't be used{f' ({why})' if why else ''}: {name} is {wanted}"
    return Problem(400, "Bad query", detail, parameter=name, value=shown, allowed=wanted)


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, inspect.Type]:
    return {field.encode_name: _plain(inspect.type_info(field.type)) for field in msgspec.structs.fields(kind)}


def _plain(type_: inspect.Type) -> inspect.Type:
    """A type without its description, and without the None that stands for what is not given."""
    if isinstance(type_, inspect.Metadata):
        return _plain(type_.type)
    if isinstance(type_, inspect.UnionType):
        (inner,) = (one for one in type_.types if not isinstance(_plain(one), inspect.NoneType))
        return _plain(inner)
    return type_


def _value(name: str, texts: Sequence[str], type_: inspect.Type) -> Any:
    if isinstance(type_, inspect.ListType):
        return [_one(name, part, _plain(type_.item_type)) for text in texts for part in text.split(",")]
    if len(texts) > 1:
        raise refused(name, texts[1], "given once", "given twice")
    return _one(name, texts[0], type_)


def _one(name: str, text: str, type_: inspect.Type) -> Any:
    found: Any = None
    if isinstance(type_, inspect.CustomType):
        return Instant(_moment(name, text))
    if isinstance(type_, inspect.LiteralType):
        found = text if text in type_.values else None
    elif isinstance(type_, inspect.BoolType):
        found = {"true": True, "false": False}.get(text)
    elif isinstance(type_, inspect.IntType):
        found = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
    elif isinstance(type_, inspect.FloatType):
        found = _number(text)
    elif isinstance(type_, inspect.StrType) and "\0" not in text:
        found = text if len(text) >= (type_.min_length or 0) else None
    if found is None or not _within(found, type_):
        raise refused(name, text, allowed(type_))
    return found


def _moment(name: str, text: str) -> float:
    try:
        return moment(text)
    except ValueError as error:
        raise refused(name, text, Instant.description, str(error)) from None


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None


def _within(value: Any, type_: inspect.Type) -> bool:
    if not isinstance(type_, inspect.IntType | inspect.FloatType):
        return True
    low, above, high = type_.ge, type_.gt, type_.le
    return (low is None or value >= low) and (above is None or value > above) and (high is None or value <= high)


def allowed(type_: inspect.Type) -> str:
    """What a parameter may be, in words."""
    if isinstance(type_, inspect.LiteralType):
        return " or ".join(", ".join(str(one) for one in type_.values).rsplit(", ", 1))
    if isinstance(type_, inspect.BoolType):
        return "true or false"
    if isinstance(type_, inspect.IntType) and type_.le is not None:
        return f"a number from {type_.ge} to {type_.le}"
    if isinstance(type_, inspect.IntType | inspect.FloatType):
        return "a number" if type_.gt is None else f"a number above {type_.gt}"
    return "a text of at least a character"

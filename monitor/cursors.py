"""Cursors: where in a list an answer ended. Opaque, and good for the question alone that they were an answer to."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from hashlib import blake2s
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from monitor.problems import Problem
from monitor.routes import Asked, refused

Cursor = Annotated[str, Meta(min_length=1, description="`next` of the answer before, to have what follows it.")] | None

ORDERS = 32
"""Orders of lists that are remembered for those who page through them."""

T = TypeVar("T")


def following(asked: Asked[Any, Any], after: tuple[Any, ...] | None) -> str | None:
    """The cursor behind the last entry of an answer; None where nothing follows."""
    if after is None:
        return None
    return urlsafe_b64encode(_seal(asked) + msgspec.json.encode(after)).decode().rstrip("=")


def place_of(asked: Asked[Any, Any], kind: type[T]) -> T | None:
    """The place that a request's cursor means, a tuple; None where it has none. Raises Problem."""
    cursor = asked.query.cursor
    if cursor is None:
        return None
    try:
        content = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        found: T = msgspec.json.decode(content[_SEAL:], type=kind)
    except (ValueError, msgspec.DecodeError):
        raise refused("cursor", cursor, "`next` of an answer, as it was given") from None
    if content[:_SEAL] != _seal(asked):
        wanted = "`next` of an answer to the same question; this one is another's"
        raise refused("cursor", cursor, wanted, "its key, filters or path differ")
    return found


def gone() -> Problem:
    """The answer to a cursor that leads nowhere any more."""
    detail = "what this cursor leads on to is not held any more; ask again without cursor, from the beginning"
    return Problem(410, "Cursor expired", detail, parameter="cursor")


_SEAL = 6


def _seal(asked: Asked[Any, Any]) -> bytes:
    """A digest of what was asked, but for where it goes on and how much at a time."""
    query = {
        name: value
        for name, value in msgspec.to_builtins(asked.query, enc_hook=float).items()
        if name not in ("cursor", "limit")
    }
    said = msgspec.json.encode([asked.request.path, query], order="sorted")
    return blake2s(said, digest_size=_SEAL).digest()


class Orders:
    """Orders of a list whose entries move while it is paged through: each is kept as it was on the first page."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, list[str]] = OrderedDict()

    def keep(self, order: list[str]) -> str:
        """Returns its name."""
        name = secrets.token_hex(4)
        self._kept[name] = order
        if len(self._kept) > ORDERS:
            self._kept.popitem(last=False)
        return name

    def get(self, name: str) -> list[str]:
        """Raises Problem where it is not kept any more."""
        order = self._kept.get(name)
        if order is None:
            raise gone()
        self._kept.move_to_end(name)
        return order

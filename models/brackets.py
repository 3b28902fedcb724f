"""Texts with their companies in brackets, as people write and read them: ``[Acme|fraud] sues [Bolt]``."""

from __future__ import annotations

import re
from typing import NamedTuple

MARK = re.compile(r"\[([^\[\]|]+)(?:\|([^\[\]|]+))?\]")


class Mention(NamedTuple):
    """One bracket: the name, its half-open character range in the plain text, what stood after the bar, if anything."""

    name: str
    span: tuple[int, int]
    mark: str


def unmarked(marked: str) -> tuple[str, list[Mention]]:
    """The plain text and its mentions in order. Raises ValueError on a bracket that has no pair or no name."""
    plain, mentions, end = "", list[Mention](), 0
    for found in MARK.finditer(marked):
        plain += marked[end : found.start()]
        name = found.group(1)
        mentions.append(Mention(name, (len(plain), len(plain) + len(name)), found.group(2) or ""))
        plain += name
        end = found.end()
    plain += marked[end:]
    if "[" in plain or "]" in plain:
        raise ValueError("a bracket without its pair, or an empty name")
    return plain, mentions

"""Texts of the lengths that a daemon reads, made of the challenge set: to measure with, and to compare machines by."""

from __future__ import annotations

from itertools import cycle

from models.challenge import Headline, headlines

KINDS = ("headlines", "posts", "articles", "mix")
POST, ARTICLE = 3, 10
"""Headlines that make a post, and an article that fills the window of 128 tokens."""
MIX = ("headlines",) * 6 + ("posts",) * 3 + ("articles",)
"""Of ten texts: most sources bring headlines."""


def samples(kind: str) -> list[str]:
    """Some hundred different texts of a kind, in a fixed order."""
    if kind == "mix":
        supply = {part: cycle(samples(part)) for part in MIX}
        return [next(supply[part]) for part in MIX * 100]
    lines = [line.text for line in headlines()]
    if kind == "headlines":
        return lines
    size = POST if kind == "posts" else ARTICLE
    sentences = [line if line.endswith((".", "?", "!")) else f"{line}." for line in lines]
    return [" ".join((sentences + sentences)[start : start + size]) for start in range(len(sentences))]


def spread() -> list[Headline]:
    """A quarter of the challenge set, over all its phenomena."""
    return headlines()[::4]

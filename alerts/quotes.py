"""What an alert's body quotes of others' texts, and the body without it: an alert may be kept longer than a text.

An alert stays what it was, its id too: only headlines, links and who told it first go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from alerts.wording import iso

Gone = Callable[[dict[str, Any]], bool]
"""Whether a quoted story must go; a story as in the body."""


def older_than(before: float) -> Gone:
    """Stories that were first seen before ``before``, in seconds since 1970."""
    limit = iso(before)
    return lambda story: str(story.get("first_seen", "")) < limit


def of(documents: Collection[str]) -> Gone:
    """Stories that one of ``documents`` told first."""
    return lambda story: story.get("id") in documents


def without(body: bytes, gone: Gone) -> bytes | None:
    """The body without the stories that must go; None where it quotes none of them. ``data.truncated`` says so."""
    tree = msgspec.json.decode(body)
    evidence = tree.get("data", {}).get("evidence")
    if not evidence:
        return None
    cut = [name for name in ("stories", "counter") if any(map(gone, evidence[name]))]
    if not cut:
        return None
    for name in cut:
        evidence[name] = [story for story in evidence[name] if not gone(story)]
    evidence["first_source"] = None  # of whichever story it was
    tree["data"]["truncated"] = list(dict.fromkeys([*tree["data"]["truncated"], *cut]))
    return msgspec.json.encode(tree)

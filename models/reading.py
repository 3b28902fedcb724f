"""What the model reads of a text: one function for training and for scoring, so that both see the same."""

from __future__ import annotations

import html
import re

URL = re.compile(r"(?:https?://|www\.)\S+|\bt\.co/\S+", re.IGNORECASE)
SPACE = re.compile(r"\s+")

READ = 1_000
"""Characters read: three times what the model's window of 64 to 128 tokens holds of English."""


def scoring_text(title: str, text: str = "") -> str:
    """Title, then the text where it adds something, without addresses and with plain spaces.

    A text that repeats the title (as feeds often do in their description) is read once.
    """
    head, body = _plain(title), _plain(text)
    if not body or (head and body.casefold().startswith(head.casefold().rstrip(".… "))):
        return body[:READ] if len(body) > len(head) else head[:READ]
    if not head:
        return body[:READ]
    joint = " " if head[-1] in ".!?:;…" else ". "
    return f"{head}{joint}{body}"[:READ]


def _plain(text: str) -> str:
    text = text[: 4 * READ]
    if "&" in text:
        text = html.unescape(text)
    if "http" in text or "www." in text or "t.co/" in text or "HTTP" in text:
        text = URL.sub(" ", text)
    return SPACE.sub(" ", text).strip()

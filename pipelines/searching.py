"""Full text: how a document's words are written into the index, and a question into what the index understands.

English words go by their stem (Porter 1980), as SQLite's tokenizer has it. Chinese, Japanese and Korean have no spaces:
their runs are kept as pairs of characters, and asked for as pairs that follow each other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

_PAIRED = "぀-ヿ㐀-䶿一-鿿가-힣豈-﫿𠀀-𪛟"
_RUN = re.compile(f"[{_PAIRED}]+")
_WORD = re.compile(r"[^\W_]+")
_PART = re.compile(r'"([^"]*)"|([^\s"]+)')

MOST_WORDS = 16
"""Words of a question that are looked for; what is behind them is left out."""
LONGEST = 64
"""Characters of a word that are looked at."""


def indexed(document: Mapping[str, Any]) -> str:
    """The words of a shown document as they stand in the index: of its title, publisher and companies."""
    names = [f"{one['name']} {one['id']}" for one in document["entities"]]
    text = " ".join([document["title"], document["publisher"] or "", *names])
    return " ".join(_stored(word) for word in _WORD.findall(_folded(text)))


def story(document: Mapping[str, Any]) -> int:
    """One number for all documents that one day (UTC) told under the same headline."""
    told = f"{document['at'][:10]} {' '.join(_WORD.findall(_folded(document['title'])))}"
    return int.from_bytes(blake2b(told.encode(errors="replace"), digest_size=8).digest(), signed=True)


def match(question: str) -> str:
    """A question as FTS5 has it: all words have to be there, those in quotes one after the other; the last one may go
    on. Empty where nothing is asked for. Whatever is given, it is no syntax of FTS5."""
    found: list[str] = []
    parts = _PART.findall(_folded(question))[:MOST_WORDS]
    for quoted, plain in parts:
        pieces = [piece[:LONGEST] for word in _WORD.findall(quoted or plain) for piece in _pieces(word)]
        if quoted:
            found += [_phrase(" ".join(_asked(piece) for piece in pieces))] if pieces else []
        else:
            found += [_single(piece) for piece in pieces]
    found = found[:MOST_WORDS]
    if found and question[-1:].isalnum() and found[-1].endswith('"'):
        found[-1] += " *"
    return " ".join(found)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _pieces(word: str) -> list[str]:
    """A word cut where its script changes from paired to other, and back."""
    cut = _RUN.sub(lambda run: f" {run.group()} ", word)
    return cut.split()


def _stored(word: str) -> str:
    if word.isascii():  # most are
        return word
    return " ".join(
        " ".join(piece[n : n + 2] for n in range(len(piece))) if _RUN.match(piece) else piece for piece in _pieces(word)
    )


def _asked(piece: str) -> str:
    if not _RUN.match(piece) or len(piece) < 2:
        return piece
    return " ".join(piece[n : n + 2] for n in range(len(piece) - 1))


def _single(piece: str) -> str:
    # A pair begins with every character: a single one is looked for as such a beginning.
    return f"{_phrase(piece)} *" if _RUN.match(piece) and len(piece) == 1 else _phrase(_asked(piece))


def _phrase(text: str) -> str:
    return f'"{text}"'

"""Texts as they are kept: clean, bounded, with an address and an identity."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from selectolax.lexbor import LexborHTMLParser

DAY = 86_400.0

MARKUP_LIMIT = 200_000
"""Characters of markup that are parsed; an article's text stands in the first part of its page."""

TAG_LIMIT = 4_000
"""Tags that are parsed: the time for nested ones grows with their square, and 40,000 took two seconds."""

# Control characters and the ones that reorder or hide text: a headline must look like what it says.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
    "|[\U000e0000-\U000e007f]"
)
_SPACE = re.compile(r"\s+")
_TAG = re.compile(r"<[a-zA-Z!/?]")


def clean(raw: str, *, markup: bool, limit: int) -> str:
    """Plain text of at most ``limit`` characters: no tags, entities decoded, no hidden characters, NFC.

    Cleaning what is clean changes nothing, unless it is taken for markup.
    """
    text = _plain(raw[:MARKUP_LIMIT]) if markup else raw[: 4 * limit]
    text = _HIDDEN.sub("", text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = _SPACE.sub(" ", text).strip()
    return text if len(text) <= limit else text[:limit].rstrip()


def _plain(text: str) -> str:
    """Markup as text; feeds escape it twice more often than they mean "&amp;lt;"."""
    for _ in range(2):
        if _TAG.search(text):
            text = _untag(text)
        elif "&" in text:
            text = html.unescape(text)
    return _untag(text) if _TAG.search(text) else text


def _untag(text: str) -> str:
    if text.count("<") > TAG_LIMIT:
        text = "<".join(text.split("<", TAG_LIMIT + 1)[: TAG_LIMIT + 1])
    tree = LexborHTMLParser(text)
    for node in tree.css("script,style,noscript,template,iframe"):
        node.decompose()
    body = tree.body
    return body.text(separator=" ") if body is not None else ""


# -- identity ---------------------------------------------------------------------------------------------

_TRACKING = re.compile(
    r"^(?:utm_\w+|fbclid|gclid|dclid|msclkid|mc_[ce]id|igshid|cmpid|ncid|ito|ref|ref_src|guccounter|guce_\w+|"
    r"smid|partner|source|feed(?:type|name)|rss|at_\w+|ocid|spm|_ga|yclid)$",
    re.IGNORECASE,
)


def canonical_url(url: str) -> str | None:
    """The address without what doesn't name the page; None where it is no http(s) address of a host."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme.lower() not in ("http", "https") or not host or len(url) > 2_000:
        return None
    if any(ord(character) < 33 or character in "<>\"'\\" for character in parts.netloc + parts.path):
        return None
    host = host.lower().rstrip(".")
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme.lower()]:
        host = f"{host}:{port}"
    query = urlencode([(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if not _TRACKING.match(k)])
    return urlunsplit((parts.scheme.lower(), host, parts.path or "/", query, ""))


def document_id(source: str, guid: str | None, url: str | None, title: str, published: float | None) -> str:
    """32 hex digits of the source's name and guid, else canonical address, else title and date.

    The source is part of it always: a feed that names another's article must not become its revision.
    """
    if guid:
        identity = f"{source}\x00g\x00{guid}"
    elif url:
        identity = f"{source}\x00u\x00{url}"
    else:
        identity = f"{source}\x00t\x00{title}\x00{'' if published is None else f'{published:.0f}'}"
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def day_spread(name: str) -> float:
    """Seconds into the day for a text whose date has no time: fixed by its id, spread evenly."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32 * DAY


def slug(name: str) -> str:
    """NFKC, lower case, letters and digits of any script, the rest as single hyphens."""
    folded = unicodedata.normalize("NFKC", name).lower()
    return re.sub(r"[\W_]+", "-", folded).strip("-") or "x"

"""Texts as they are kept: clean, bounded, with a language, an address and an identity."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from functools import cache
from typing import Any
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


# -- language ---------------------------------------------------------------------------------------------

_ENGLISH = frozenset(
    (  # noqa: SIM905 (a list of one word a line would fill pages)
        "a about after against ahead all amid among an and are as at back be beats before between billion "
        "but buys by can ceo chief company could court cuts data day deal despite do down drops during earnings "
        "faces fall falls firm firms first for from gains gets group growth has have he her higher his hits how i "
        "if in into is it its jobs jumps just last launches law loss lower makes market markets may million "
        "misses more most must my names new no not now of off oil on or our out over per plans price probe profit "
        "quarter raises rate rates recall recalls reports revenue rise rises said sales says seeks sees sells "
        "share shares she should since stock stocks sue sued sues takes talks than that the their they this to "
        "today trade under until up us warns was we week what while who why will wins with would year you your"
    ).split()
)
_OTHERS = frozenset(
    (  # noqa: SIM905 (a list of one word a line would fill pages)
        "aan al alla anche att au auch auf aus aux av avec bei bij ce cette che como con da dans das dass de dei "
        "del della dem den der des det di du een efter ein eine el em en entre es est et ett för für gegen gli "
        "hat het ikke il im inte ist jest la las le les lo los mais med mit más na naar nach ne nel nella nicht "
        "nie niet non não o och og op os para pas più por pour på que qui sa se ses sich sind się sobre som sur "
        "sus te til tot uit um uma un una und une van von voor wegen wird wordt y zijn zu zum zur à är"
    ).split()
)
_WORD = re.compile(r"[^\W\d_]+")
_HAN = re.compile("[\u4e00-\u9fff\u3400-\u4dbf]")
_KANA = re.compile("[\u3040-\u30ff]")
_HANGUL = re.compile("[\uac00-\ud7af]")


def language(text: str, hint: str | None = None) -> tuple[str, float]:
    """(ISO 639-1 code or "und", confidence).

    Script first, function words second; only where both leave doubt the statistical model, told the feed's own
    word (``hint``) for it.
    """
    if not text.isascii():
        by_script = _by_script(text)
        if by_script is not None:
            return by_script
    words = [word for word in _WORD.findall(text.lower()) if len(word) < 20]
    if not words:
        return (hint[:2].lower(), 0.3) if hint else ("und", 0.0)
    english = sum(word in _ENGLISH for word in words)
    others = sum(word in _OTHERS and word not in _ENGLISH for word in words)
    if english > others and (english >= 2 or english / len(words) >= 0.15):
        return "en", min(0.99, 0.7 + 0.1 * (english - others))
    if len(words) < 4 and others == 0 and text.isascii():
        # Too little to tell: a ticker and a number belong to the language of their feed.
        return (hint[:2].lower() if hint else "en"), 0.5
    code, confidence = _statistical(text)
    if confidence < 0.9 and others == 0 and text.isascii():
        return (hint[:2].lower() if hint else "en"), 0.5
    return code, confidence


def _by_script(text: str) -> tuple[str, float] | None:
    letters = sum(character.isalpha() for character in text) or 1
    if len(_KANA.findall(text)) * 25 > letters:
        return "ja", 0.95
    if len(_HANGUL.findall(text)) * 4 > letters:
        return "ko", 0.95
    if len(_HAN.findall(text)) * 4 > letters:
        return "zh", 0.95
    return None


# Languages that financial sources write; among all 97 a short English headline is often taken for Hausa or Malagasy.
_WRITTEN = (
    *("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "fi", "pl", "cs", "hu", "ro", "el", "tr", "ru", "uk"),
    *("zh", "ja", "ko", "ar", "he", "fa", "hi", "bn", "ta", "ur", "id", "vi", "th"),
)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # takes half a second: only where it is needed

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([code for code in _WRITTEN if code in identifier.labels])
    return identifier


def _statistical(text: str) -> tuple[str, float]:
    code, probability = _identifier().classify(text)
    return str(code), float(probability)


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

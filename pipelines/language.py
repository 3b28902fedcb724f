"""The language of a short text, from its script, its words, its letters and its feed's own word.

Identifiers of language are made for sentences. A headline is half names ("Crédit Agricole beats estimates"), and a
name is written in the language of its company, not of the text: so what is weighed here are above all the words that
are no names, and those are the ones in lower case.
"""

from __future__ import annotations

import io
import lzma
import math
import re
from array import array
from collections import Counter
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

TOLD = 0.5
"""Confidence in a language that only the feed's word, or nothing, speaks for."""

_SHARED = frozenset(
    (  # noqa: SIM905 (a list of one word a line would fill pages)
        "action after agenda alarm an app art as asset ban bank bar base bonus boom bot brand budget but by "
        "capital cash chance chef client clients club come commission credit data date deal debut die diesel "
        "dividend do dollar euro euros ex expansion export extra face fast fin finance flight fly foot for "
        "force forum from fund fusion gap gas gift global go hack hacker handel has hotel hub idea impact "
        "import in index inflation info initial investor is it job journal kind label legal linear "
        "lose man manage manager mandate marathon margin marginal marketing mars media min minister mission mode "
        "model modern moment motor natural net no nominal normal not note notice of off offensive office oil on "
        "online open opera option options or order pandemic panic par parking part partner pause per personal "
        "peso pipeline pizza pizzas place plan plus police port portal portfolio post pour premium press prime "
        "pro problem production profit program project quota radar rally rating real recall record red reduce rest "
        "restaurant restructuring return risk rival roll route sale sensor service site social solo son "
        "source spa spread stable staff start stock stop stopper stress studio sue super surf tank tanker tax team "
        "test ticket tour tram transit transport trust turbo under union url vanilla via video virus visa visible "
        "vision wager war was web will winter zone"
    ).split()
)
"""Words that English headlines share with those of other languages: they speak for neither."""

_OTHERS = frozenset(
    (  # noqa: SIM905 (a list of one word a line would fill pages)
        "aan akan al alla alle anche att au auch auf aus aux av avec az bei bij bir ce cette che com como con "
        "contra cu da daha dan dans dari das dass de dei del della delle dem den dengan der des det di din dla dopo "
        "du după durch een efter egy ei ein eine einem einen einer el em en entre es est et ett etter fra från för "
        "für gegen gli hat het hos ikke il ile im inte ist için ja jest karena ke la las le les lo los mais med mit "
        "mot myös más na naar nach nad ne nel nella nem nicht nie niet noch nog non nu nueva nuevo não och od og oli "
        "om ook op oraz os over pada para pas pe pentru più po pod ponad por pre przed przez på que qui sa sans "
        "se sem ses seus sich sin sind się sob sobre som sous sta sui sul sulla sur sus te til till tot tra ud uit um "
        "uma un una und une untuk upp ut van ve vers vid vom von voor vor wegen werden wird wordt za ze zijn zu zum "
        "zur är år és över"
    ).split()
)
"""Little words of other languages, which English headlines hardly write in lower case."""

# "delisted" and "outsells" are English because "listed" and "sells" are.
_STARTS = ("re", "out", "over", "un", "de", "mis")
_ENDINGS = ("s", "es", "d", "ed", "ing", "ly")

_NOISE = re.compile(r"https?://\S+|[@#$]\w+")
_WORD = re.compile(r"[^\W\d_]{2,24}")
_TAG = re.compile(r"\s*([a-zA-Z]{2})(?:[-_][\w-]*)?\s*$")
_HAN = re.compile("[\u4e00-\u9fff\u3400-\u4dbf]")
_KANA = re.compile("[\u3040-\u30ff]")
_HANGUL = re.compile("[\uac00-\ud7af]")
_FAR = re.compile("[\u0370-\u1dff\u2c00-\u2dff\ua500-\uabff]")
"""Letters of the scripts between Latin and Chinese: Greek, Cyrillic, Hebrew, Arabic, those of India, Thai."""

_WRITTEN = (
    *("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "fi", "pl", "cs", "hu", "ro", "el", "tr", "ru", "uk"),
    *("zh", "ja", "ko", "ar", "he", "fa", "hi", "bn", "ta", "ur", "id", "vi", "th", "ca"),
)
"""Languages that financial sources write; among all 97 a short headline is often taken for Hausa or Malagasy."""

# What speaks for English, in nats: a logistic regression's coefficients, rounded (docs/decisions/0006-language.md).
_NOTHING = -0.4
_ANY_ENGLISH = 3.4
_ENGLISH_SHARE = 2.8
_UNKNOWN_SHARE = -1.8
_ANY_OTHER = -0.8
_ACCENTED_NAME = -0.7
_LETTERS = 0.7
_LETTERS_LIMIT = 6.0
"""The letters of a few words prove little, whatever the identifier believes; those of a paragraph twice that."""
_PARAGRAPH = 15
_HINT_ENGLISH = 1.0
"""Many programs that make feeds write "en-us" unasked."""
_HINT_OTHER = -2.0


def language(text: str, hint: str | None = None) -> tuple[str, float]:
    """(ISO 639-1 code or "und", confidence): scripts first, then words and letters, weighed with the feed's word.

    ``hint`` is a language tag as feeds declare it ("de-AT"); what is no tag counts as none.
    """
    told = _told(hint)
    if not text.isascii():
        by_script = _by_script(text)
        if by_script is not None:
            return by_script
    text = _NOISE.sub(" ", text)
    words = _WORD.findall(text)
    if not words:
        return (told, 0.3) if told else ("und", 0.0)
    evidence = _evidence(words)
    if evidence is None:
        # Nothing but names: a ticker and a number belong to the language of their feed.
        return told or "en", TOLD
    if told:
        evidence += _HINT_ENGLISH if told == "en" else _HINT_OTHER
    return _weighed(text, evidence, _LETTERS_LIMIT * (1 + (len(words) >= _PARAGRAPH)), told)


def _told(hint: str | None) -> str | None:
    found = _TAG.match(hint) if hint else None
    code = found[1].lower() if found else None
    return "no" if code in ("nb", "nn") else code


def _evidence(words: list[str]) -> float | None:
    """What the words say for English (positive) or against, in nats; None where they are but a few names."""
    lower = [word for word in words if word.islower()]
    # The words in lower case are no names. A title in capitals leaves only little ones: then all of them speak.
    capitals = all(len(word) <= 3 for word in lower)
    speaking = [word.lower() for word in words] if capitals else lower
    kinds = Counter(map(_kind, speaking))
    english, others = kinds["english"], kinds["other"]
    if not (lower or english or others) and len(words) < 8 and all(word.isascii() for word in words):
        return None
    evidence = _NOTHING + _UNKNOWN_SHARE * kinds["unknown"] / len(speaking) + _ANY_OTHER * bool(others)
    if english:
        evidence += _ANY_ENGLISH + (0.0 if capitals else _ENGLISH_SHARE * english / len(speaking))
    accented = any(not word.isascii() and not word.islower() for word in words)
    return evidence + _ACCENTED_NAME * accented


def _weighed(text: str, evidence: float, limit: float, told: str | None) -> tuple[str, float]:
    if evidence > _LETTERS * limit:  # the letters could not turn it
        return "en", _sure(evidence)
    ranked = _ranked(text)
    rival, likely = next(pair for pair in ranked if pair[0] != "en")
    odds = math.log(max(dict(ranked)["en"], 1e-9) / max(likely, 1e-9))
    evidence += _LETTERS * max(-limit, min(limit, odds))
    if evidence > 0:
        return "en", _sure(evidence)
    if told and told != "en" and likely < 0.9:
        rival = told
    return rival, _sure(-evidence)


def _sure(evidence: float) -> float:
    return min(0.99, 1 / (1 + math.exp(-evidence)))


@cache
def _vocabulary() -> frozenset[str]:
    """Words that English financial headlines write in lower case, less those of other languages."""
    text = files("pipelines").joinpath("data", "words.txt").read_text(encoding="utf-8")
    return frozenset(text.split()) - _SHARED - _OTHERS


@lru_cache(16_384)
def _kind(word: str) -> str:
    """What the word speaks for: "english", "other", neither ("shared"), or "unknown" to every list here."""
    if word in _OTHERS:
        return "other"
    if word in _SHARED:
        return "shared"
    known = _vocabulary()
    stems = [word[: -len(ending)] for ending in _ENDINGS if word.endswith(ending)]
    stems += [word[len(start) :] for start in _STARTS if word.startswith(start)]
    if word in known or any(len(stem) > 3 and stem in known for stem in stems):
        return "english"
    return "unknown"


def _by_script(text: str) -> tuple[str, float] | None:
    letters = sum(character.isalpha() for character in text) or 1
    kana, han = len(_KANA.findall(text)), len(_HAN.findall(text))
    if kana * 25 > letters and (kana + han) * 4 > letters:
        return "ja", 0.95
    if len(_HANGUL.findall(text)) * 4 > letters:
        return "ko", 0.95
    if han * 4 > letters:
        return "zh", 0.95
    if len(_FAR.findall(text)) * 3 > letters:
        code, likely = next(pair for pair in _ranked(text) if pair[0] != "en")
        return code, max(0.5, min(0.99, likely))
    return None


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier  # half a second: only where it is needed

    # The package's own loader unpacks into a temporary file; a hardened daemon may have no room for one, or nowhere.
    with np.load(io.BytesIO(lzma.decompress((MODEL_DIR / MODEL_FILE).read_bytes())), allow_pickle=False) as model:
        moves, rows = (array(model[name].dtype.char, model[name].tobytes()) for name in ("nextmove", "nextmove_row"))
        identifier = LanguageIdentifier(
            model["ptc"], model["pc"], model["classes"].tolist(), moves, model["out_feat"].tolist(),
            norm_probs=True, tk_row=rows,
        )  # fmt: skip
    identifier.set_languages([code for code in _WRITTEN if code in identifier.labels])
    return identifier


def _ranked(text: str) -> list[tuple[str, float]]:
    """Every language with its probability by the letters alone, the likeliest first."""
    return [(str(code), float(probability)) for code, probability in _identifier().rank(text)]

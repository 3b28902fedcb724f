"""Whether a name that is an everyday word too means the company: what its surroundings say.

"Apple" may be a fruit, "Target" a verb, "Ford" an actor. A capital in mid-sentence, a legal form, business words
beside it or the company's own vocabulary speak for the company; "visa ban", "price target", "Harrison Ford" against.
"""

from __future__ import annotations

import re
from functools import cache, cached_property
from importlib.resources import files
from typing import NamedTuple

FREE, GUARDED, GENERIC = 0, 1, 2
"""How mistakable a name is: not at all; an everyday word or a person's name; read with its legal form only."""

_WORD = re.compile(r"[^\W\d_]{4,}")
_LEGAL_FORM = re.compile(
    r",?\s+(?:incorporated|inc|corp(?:oration)?|co|company|plc|ltd|limited|llc|ag|se|s\.?a|n\.?v|ab|asa|oyj|kgaa|"
    r"group|holdings?)\b(?!\s+of\b)",
    re.IGNORECASE,
)
_SAYS = (
    r"shares?|stocks?|ceo|cfo|coo|chairman|chairwoman|boss|profits?|revenues?|earnings|sales|dividend|investors?|"
    r"shareholders?|quarterly|results|outlook|guidance|forecasts?|merger|ipo|bonds?|bondholders|lawsuit|recalls?|"
    r"employees|workers|staff|executives?|layoffs|stores?|customers|says|said|unveils?|launch(?:es)?|reports?|posts|"
    r"beats|misses|tops|warns?|plans|agrees|hires|names|appoints|recalling|sues|sued|settles|faces|fined|cuts|raises|"
    r"slashes|acquires|buys|sells|delays|denies|expects|sees|halts|suspends|reveals|confirms|gets|wins|loses|rises|"
    r"falls|jumps|slides|slumps|surges|drops|gains|climbs|tumbles|plunges|soars|sinks|q[1-4]|first-quarter|"
    r"second-quarter|third-quarter|fourth-quarter|market cap|upgraded|downgraded|to (?:buy|cut|sell|acquire|close|pay|"
    r"recall|launch|lay|invest|build|open|raise|spin|slash|merge|settle|report|shut|stop|add|hire|unveil)"
)
_AFTER = re.compile(rf"['’]s\b|s?['’]?\s+(?:{_SAYS})\b", re.IGNORECASE)
_NEAR_AFTER = re.compile(rf"\W+(?:\w+\W+){{1,2}}(?:{_SAYS})\b", re.IGNORECASE)
_VERB = re.compile(r"\s+(?:to\b|[a-z]{2,}(?:s|ed)\b)")
_THIRD_PERSON = re.compile(r"\s+[a-z]{2,}[^s\W]s\s+(?!and\b|or\b|are\b|were\b|in\b|of\b)\w")
_BEFORE = re.compile(
    r"(?:\b(?:shares? (?:of|in)|stakes? in|stock of|maker|carmaker|automaker|retailer|giant|company|firm|"
    r"airline|insurer|lender|rival|rivals|sues?|sued|fines?|upgrades?|downgrades?|buys?|acquires?|against|vs\.?|"
    r"investors? in|ceo of|boss of|parent|owner|like|suppliers?|supplier to|by|from|at|with|and|than)\s+|[,&]\s+)$",
    re.IGNORECASE,
)
_WEAK_BEFORE = re.compile(r"(?:\b(?:like|by|from|at|with|and|than|against)\s+|[,&]\s+)$", re.IGNORECASE)
_SENTENCE_START = re.compile(r"(?:^|[.!?:;|\n“\"‘(\[–—-]\s*|\bthe\s+)$", re.IGNORECASE)
_FIRST_NAMES = re.compile(
    r"\b(?:Harrison|Doug|Gerald|Tom|Henry|Betty|Bill|Rob|Tim|Paul|Robin|Serena|Vanessa|Wilbur|Rick|Steve|Michael|"
    r"Jimmy|Gary|Sarah|David|John|James|Peter|Mark|Richard|George|Martin|Chris|Anthony|Sir|Mr\.?|Mrs\.?|Ms\.?|Dr\.?|"
    r"Mount|Lake|Fort|Saint|New|Big|Golden|Bitter|Mississippi|Niger|Mekong)\s+$"
)


class _Mistake(NamedTuple):
    """A row of ``mistakable.tsv``."""

    level: int
    before: re.Pattern[str] | None
    after: re.Pattern[str] | None


@cache
def _mistakable() -> dict[str, _Mistake]:
    table = {}
    for line in _lines("mistakable.tsv"):
        name, level, before, after, *_ = [*line.split("\t"), "", ""]
        table[name] = _Mistake(
            GENERIC if level == "generic" else GUARDED,
            re.compile(rf"\b(?:{before})[\s-]+$", re.IGNORECASE) if before else None,
            re.compile(rf"[\s-]+(?:{after})\b", re.IGNORECASE) if after else None,
        )
    return table


def _lines(name: str) -> list[str]:
    text = files("pipelines").joinpath("data", name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@cache
def acronyms() -> frozenset[str]:
    """Upper-case words that mean something else far more often than the company whose ticker they are."""
    return frozenset(_lines("acronyms.txt"))


@cache
def _words() -> frozenset[str]:
    return frozenset(_lines("words.txt"))


def is_word(text: str) -> bool:
    """Whether an English text writes this in lower case."""
    return text.lower() in _words()


def level_of(name: str) -> int:
    """How mistakable a name is."""
    known = _mistakable().get(name.lower())
    if known is not None:
        return known.level
    return GUARDED if " " not in name and is_word(name) else FREE


def is_commonplace(name: str) -> bool:
    """Whether a name is an everyday word of which nothing is known that tells the company from it."""
    return level_of(name) == GUARDED and name.lower() not in _mistakable()


class Reading:
    """A text with what its typography tells; computed when first asked for."""

    def __init__(self, whole: str, title: int) -> None:
        self.whole = whole
        self._title = title

    def is_whole(self, start: int, end: int) -> bool:
        """Whether the match ends where words end."""
        whole = self.whole
        before = start > 0 and (whole[start - 1].isalnum() or whole[start - 1] == "_") and whole[start].isalnum()
        if before:
            return False
        return not (end < len(whole) and (whole[end].isalnum() or whole[end] == "_") and whole[end - 1].isalnum())

    @cached_property
    def _title_style(self) -> str:
        return _style(self.whole[: self._title])

    @cached_property
    def _body_style(self) -> str:
        return _style(self.whole[self._title : self._title + 400])

    def _style_at(self, start: int) -> str:
        return self._title_style if start < self._title else self._body_style

    def shouts(self, start: int) -> bool:
        """Whether the text there is all capitals, so that upper case says nothing."""
        return self._style_at(start) == "upper"

    def is_attribution(self, start: int, end: int) -> bool:
        """Whether a headline closes with it as its source: "Chipmaker plans cuts: JPMorgan"."""
        return end == self._title and self.whole[max(0, start - 2) : start].strip() in (":", "-", "–", "—")

    def legal_form_follows(self, end: int) -> bool:
        return _LEGAL_FORM.match(self.whole, end) is not None

    @cached_property
    def _folded(self) -> str:
        return self.whole.lower()

    def context_words(self, context: frozenset[str]) -> bool:
        """Whether one of the company's own words stands in the text."""
        return any(_stands(word, self._folded) for word in context)

    def signs(self, start: int, end: int, surface: str, context: frozenset[str]) -> float:
        """How much speaks for the company, 2 being enough; below 0 where something speaks against it."""
        if not surface[0].isupper() and not surface[0].isdigit():
            return 0.0
        before = self.whole[max(0, start - 40) : start]
        if self._against(surface.lower(), before, end):
            return -3.0
        signs = 3.0 if self.legal_form_follows(end) else 0.0
        if _AFTER.match(self.whole, end):
            signs += 2.0
        elif _NEAR_AFTER.match(self.whole, end):
            signs += 1.0
        if _BEFORE.search(before):
            signs += 0.5 if _WEAK_BEFORE.search(before) else 2.0
        if self._style_at(start) == "sentence" and not _SENTENCE_START.search(before):
            signs += 2.0
        if context and self.context_words(context - {surface.lower()}):
            signs += 2.0
        return signs + self._unusual(start, end, surface)

    def _unusual(self, start: int, end: int, surface: str) -> float:
        """A first word that texts hardly write small, before a verb; a word written in capitals by itself."""
        if self._style_at(start) == "upper":
            return 0.0
        signs = 1.0 if surface.isupper() and len(surface) > 1 else 0.0
        if not is_word(surface):
            signs += 1.0 if _VERB.match(self.whole, end) else 0.5
            signs += 1.0 if _THIRD_PERSON.match(self.whole, end) else 0.0
        return signs

    def _against(self, word: str, before: str, end: int) -> bool:
        if _FIRST_NAMES.search(before):
            return True
        known = _mistakable().get(word)
        if known is None:
            return False
        if known.after is not None and known.after.match(self.whole, end):
            return True
        return known.before is not None and known.before.search(before) is not None


def _stands(word: str, folded: str) -> bool:
    place = folded.find(word)
    while place >= 0:
        end = place + len(word)
        if not (place and folded[place - 1].isalnum()) and not (end < len(folded) and folded[end].isalnum()):
            return True
        place = folded.find(word, place + 1)
    return False


def _style(text: str) -> str:
    """ "sentence", "title" (Most Words Capitalised), or "upper"."""
    words = _WORD.findall(text)
    if not words:
        return "upper" if text.isupper() else "title"
    if sum(word.isupper() for word in words) > 0.6 * len(words):
        return "upper"
    rest = words[1:]
    lower = sum(word.islower() for word in rest)
    return "sentence" if rest and lower >= 0.45 * len(rest) else "title"

"""Headlines changed in ways that must not matter to a model, or must push it one way (Ribeiro et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable

from models.challenge.headlines import Headline

NAMES = ("Ardmore", "Belcourt", "Caswell", "Delamere", "Everdon")
"""Other companies to put in the place of those of a headline."""

CASHTAGS = ("$ADMQ", "$BLCQ", "$CSWQ", "$DLMQ", "$EVRQ")

Change = Callable[[Headline], str]
"""The changed text; the same text where the change does not apply."""


def other_companies(row: Headline) -> str:
    """Each company under another name, cashtags as other cashtags."""
    names = {
        entity.name: (CASHTAGS if entity.name.startswith("$") else NAMES)[place % len(NAMES)]
        for place, entity in enumerate(row.entities)
    }
    return _spliced(row, {span: names[entity.name] for entity in row.entities for span in entity.spans})


def ticker_added(row: Headline) -> str:
    """A ticker in brackets after the first company that is told by name."""
    for entity in row.entities:
        if not entity.name.startswith("$"):
            return _spliced(row, {entity.spans[0]: f"{entity.name} (ADMQ)"})
    return row.text


def capitals(row: Headline) -> str:
    return row.text.upper()


def small_letters(row: Headline) -> str:
    return row.text.lower()


def full_stop(row: Headline) -> str:
    """With a full stop at its end, or without the one that it has."""
    return row.text[:-1] if row.text.endswith(".") else row.text if row.text[-1] in "!?…" else f"{row.text}."


def later_edition(row: Headline) -> str:
    return f"UPDATE 1-{row.text}"


def shares_plunge(row: Headline) -> str:
    return _followed(row, "Shares plunge on the news.")


def shares_surge(row: Headline) -> str:
    return _followed(row, "Shares surge on the news.")


def chief_arrested(row: Headline) -> str:
    return _followed(row, "Police arrested the chief executive.")


INVARIANT: dict[str, Change] = {
    "other_companies": other_companies,
    "ticker_added": ticker_added,
    "capitals": capitals,
    "small_letters": small_letters,
    "full_stop": full_stop,
    "later_edition": later_edition,
}
"""The labels must stay."""

WORSE: dict[str, Change] = {"shares_plunge": shares_plunge, "chief_arrested": chief_arrested}
"""The text must not read more positive than before, nor less adverse."""

BETTER: dict[str, Change] = {"shares_surge": shares_surge}
"""The text must not read more negative than before."""


def _spliced(row: Headline, by: dict[tuple[int, int], str]) -> str:
    text = row.text
    for (start, end), new in sorted(by.items(), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _followed(row: Headline, sentence: str) -> str:
    return f"{row.text}{'' if row.text[-1] in '.!?…' else '.'} {sentence}"

"""``tapewatch models challenge``: a model's report on a challenge set, to be read or as one JSON object."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec
import typer

from models.challenge import NUMBERS, Report, challenge_set, report
from models.challenge.report import Set, Share
from models.classifier import load


def run_challenge(name: str, number: int, as_json: bool) -> None:
    """Judges a set in English and, with a model that reads Chinese, in Chinese."""
    if number not in NUMBERS:
        raise typer.BadParameter(f"--set is {' or '.join(map(str, NUMBERS))}, not {number}")
    classifier = load(name)
    try:
        texts = challenge_set(number)
        posts = texts.chinese if "zh" in classifier.languages else ()
        found = report(classifier, texts.english, posts, number=number)
    finally:
        classifier.close()
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    else:
        typer.echo("\n".join(_page(found)))


def _page(found: Report) -> Iterator[str]:
    yield f"Model {found.model}, challenge set {found.number}: share that is right (of how many)."
    for one in found.sets:
        yield from ("", f"## {one.name}", "", *_table(one), "", *_remarks(one))
    yield from ("", "## Behaviour", "", "| test | kind | sentiment | adverse |", "|---|---|---|---|")
    for test in found.behaviour:
        yield f"| `{test.name}` | {test.kind} | {_cell(test.sentiment)} | {_cell(test.adverse)} |"


def _table(of: Set) -> Iterator[str]:
    """The columns that anything was tried in."""
    columns = [name for name in ("sentiment", "toward", "adverse", "kinds", "topic") if getattr(of.whole, name).n]
    yield f"| phenomenon | texts | {' | '.join(columns)} |"
    yield f"|---|---|{'---|' * len(columns)}"
    for row in (*of.phenomena, of.whole):
        cells = " | ".join(_cell(getattr(row, name)) for name in columns)
        yield f"| `{row.phenomenon}` | {row.texts} | {cells} |"


def _remarks(of: Set) -> Iterator[str]:
    if of.constant.right is not None:
        yield f"Always saying {of.constant.sentiment} would be right in {of.constant.right:.2f} of the texts."
    if of.toward_by_document:
        yield (
            f"Toward {of.toward_by_document} of {of.whole.toward.n} companies the text's sentiment stands: "
            "the model has no answer of its own."
        )
    if of.events is None:
        yield "Adverse events are not judged: the model has no head for them."
    else:
        yield f"Called adverse: {_detected(of.events.precision, of.events.recall)}."
        yield f"Kinds named: {_detected(of.events.kinds_precision, of.events.kinds_recall)}."


def _cell(share: Share) -> str:
    return "–" if share.right is None else f"{share.right:.2f} ({share.n})"


def _detected(*shares: float | None) -> str:
    precision, recall = ("none" if share is None else f"{share:.3f}" for share in shares)
    return f"precision {precision}, recall {recall}"

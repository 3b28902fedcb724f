"""``feedback``: what analysts said of alerts, as a list, as a table for others, and what it comes to."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import msgspec
import typer

from alerts.verdicts import VERDICTS, Figures, Verdict
from monitor.commands.export import read_model
from monitor.commands.operations import ask, quote
from monitor.settings import SettingsError, load
from pipelines import corrections, precision

RENAMED = {"opened": "onset"}
"""As ``replay --events`` asks for it."""
COLUMNS = (
    "alert",
    *(RENAMED.get(name, name) for name in Figures.__struct_encode_fields__),
    "verdict",
    "by",
    "note",
    "at",
)
LISTED = ("id", "alert", "at", "verdict", "by", "note")
FORMULA = ("=", "+", "-", "@")
"""How a text begins that a spreadsheet would run."""


def listed(config: Path, verdict: str | None) -> None:
    """Prints the verdicts that count."""
    query = f"&verdict={quote(verdict)}" if verdict else ""
    for one in ask(config, "GET", f"feedback?limit=100000{query}")["feedback"]:
        shown = {name: one[name] for name in LISTED} | {name: one["figures"][name] for name in ("key", "name")}
        sys.stdout.write(json.dumps(shown, ensure_ascii=False) + "\n")


def export(config: Path, out: Path, *, stories: bool) -> None:
    """Writes a row for each alert that was judged, or for the stories of all of them; prints how many."""
    if not out.name.endswith((".csv", ".csv.gz")):
        raise SettingsError(f"--out {out}: ends in none of .csv, .csv.gz")
    answers, _ = read_model(load(config))
    partial = out.with_name(out.name + ".partial")
    try:
        verdicts = answers.verdicts()
        if not verdicts:
            typer.echo(f"{answers.path}: holds no verdict; `tapewatch feedback add` gives one", err=True)
            raise typer.Exit(1)
        rows = corrections.rows(answers, verdicts) if stories else [_row(verdict) for verdict in verdicts]
        with _opened(partial, packed=out.suffix == ".gz") as target:
            table = csv.DictWriter(target, corrections.COLUMNS if stories else COLUMNS)
            table.writeheader()
            table.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
        partial.rename(out)
    except OSError as error:
        raise SettingsError(f"--out {out}: {error.strerror or error}") from None
    finally:
        answers.close()
        partial.unlink(missing_ok=True)
    said = [verdict.verdict for verdict in verdicts]
    counts = {"rows": len(rows), "alerts": len(said)} | {name: said.count(name) for name in VERDICTS}
    sys.stdout.write(json.dumps(counts) + "\n")


def _opened(path: Path, *, packed: bool) -> TextIO:
    if packed:
        return gzip.open(path, "wt", encoding="utf-8", newline="")
    return path.open("w", encoding="utf-8", newline="")


def _row(verdict: Verdict) -> dict[str, Any]:
    told = msgspec.to_builtins(verdict)
    row = {RENAMED.get(name, name): value for name, value in (told.pop("figures") | told).items()}
    return {name: row[name] for name in COLUMNS}


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        value = ";".join(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def report(config: Path, budgets: Sequence[float], *, as_json: bool) -> None:
    """Prints what the verdicts come to."""
    for budget in budgets:
        if not 0.0 < budget < float("inf"):
            raise SettingsError(f"--budget {budget:g}: is above 0: false alarms for each key and month")
    answers, _ = read_model(load(config))
    try:
        told = precision.report(answers, budgets)
    finally:
        answers.close()
    if as_json:
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(told)) + "\n")


def _lines(told: dict[str, Any]) -> Iterator[str]:
    named = {"all alerts": told["all"]}
    named |= {f"watch-list {name}": part for name, part in told["watchlists"].items()}
    named["on no watch-list"] = told["no_watchlist"]
    for name, part in named.items():
        yield f"{name}: {part['judged']} of {part['alerts']} judged, {part['true']} true, {part['false']} false, " + (
            f"{part['unsure']} unsure; precision {_share(part['precision'])}"
        )
        for row in part["budgets"]:
            yield f"  at {row['budget']:g}: {row['true']} true, {row['false']} false; precision " + (
                f"{_share(row['precision'])}, recall {_share(row['recall'])}{' *' if row['looser'] else ''}"
            )
    yield "Intervals: 95 %. Recall is of the true alerts that rang: what stayed silent was judged by nobody."
    if any(row["looser"] for part in named.values() for row in part["budgets"]):
        yield "* more would have rung than did, and was never judged: all that is known is that none of these would go."


def _share(share: dict[str, Any]) -> str:
    value = "unknown" if share["value"] is None else f"{share['value']:.2f}"
    return f"{value} ({share['low']:.2f} to {share['high']:.2f})"

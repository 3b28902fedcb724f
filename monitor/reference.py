"""``python -m monitor.reference``: the generated pages of docs/, from the code that they describe."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer
from prometheus_client import REGISTRY
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from alerts import schema as bodies
from monitor import asyncapi, openapi
from monitor.api import ROUTES
from monitor.sections import EntitySettings, Spelled, spell
from monitor.settings import Settings
from monitor.settings_file import is_section
from monitor.source_settings import FieldSettings
from pipelines import documents

DOCS = Path(__file__).resolve().parents[1] / "docs"
PACKAGES = ("monitor", "pipelines", "alerts", "models")
OFFLINE = {
    "models.assemble",
    "models.batches",
    "models.bilingual",
    "models.export",
    "models.finetune.adapt",
    "models.finetune.weights",
    "models.fitting",
    "models.network",
    "models.teacher",
    "models.train",
    "monitor.__main__",
}
"""Modules that need the training environment, or do something when imported."""

RECORDS = (
    documents.Document,
    documents.ScoredDocument,
    documents.Evidence,
    documents.SourceRecord,
    documents.SeriesPoint,
    documents.Candidate,
    documents.AlertRecord,
    documents.DeadLetter,
)


def pages() -> dict[str, str]:
    """Path below docs/ to content."""
    found = {
        "configuration.md": configuration(),
        "cli.md": command_line(),
        "metrics.md": metrics(),
        "asyncapi.json": json.dumps(asyncapi.document(), indent=2) + "\n",
        "openapi.json": json.dumps(openapi.document(ROUTES), indent=2) + "\n",
    }
    for record in RECORDS:
        schema = json.dumps(msgspec.json.schema(record), indent=2, sort_keys=True) + "\n"
        found[f"schemas/{record.__name__}.schema.json"] = schema
    found["schemas/alert.schema.json"] = bodies.text()
    return found


# -- settings ---------------------------------------------------------------------------------------------


def configuration() -> str:
    lines = [
        "# Configuration",
        "",
        "One TOML file. Every key of a plain section can be overridden by `TAPEWATCH_SECTION__KEY` in the environment "
        "(lists as JSON; lists of tables stand in the file alone). "
        "Durations are texts with a unit (`ms`, `s`, `m`, `h`, `d`, `w`); relative paths start at the "
        "file's folder. A wrong setting stops the start and names file, key, value and what is allowed. "
        "`tapewatch init` writes a commented file, `tapewatch check-config` validates one. SIGHUP or "
        "`POST /api/v1/reload` takes over watch-lists, rules, routes, silences and the model's name without a restart.",
        "",
    ]
    for name, model, many in sections(Settings):
        lines += [f"## {'[[' if many else '['}{name}{']]' if many else ']'}", "", (model.__doc__ or "").strip(), ""]
        lines += list(_fields(model, "" if many else name))
        if name == "sources":
            lines += ["### Fields of another's records", "", "As a table in `fields`:", "", *_fields(FieldSettings, "")]
        if name == "watchlists":
            lines += ["### A company of one's own", "", "As a table in `entities`:", "", *_fields(EntitySettings, "")]
    return "\n".join(lines)


def sections(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, type[BaseModel], bool]]:
    """Every section: its name, its model, and whether there may be several."""
    for name, field in model.model_fields.items():
        if above and not is_section(field.annotation):
            continue
        inner, many = _model(field.annotation), "tuple" in str(field.annotation)
        yield above + name, inner, many
        if not many:
            yield from sections(inner, f"{above}{name}.")


def _fields(model: type[BaseModel], section: str) -> Iterator[str]:
    yield "| key | type | default | what |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        if is_section(field.annotation):
            continue
        key = field.alias or name
        steps = "__".join([*section.split("."), key]).upper()
        environment = f"<br>`TAPEWATCH_{steps}`" if section else ""
        yield f"| `{key}`{environment} | {_type(field)} | {_default(field)} | {field.description} |"
    yield ""


def _model(annotation: Any) -> type[BaseModel]:
    if is_section(annotation):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if argument is not Ellipsis:
            return _model(argument)
    raise TypeError(f"{annotation} holds no section")


def _type(field: FieldInfo) -> str:
    annotation = field.annotation
    text = str(annotation)
    if Spelled in field.metadata or "PlainSerializer" in text:
        return "duration"
    if "Settings" in text and "tuple" not in text:
        return "table"
    if "Literal" in text:
        options = [str(a) for a in _literals(annotation)]
        return " or ".join(f"`{option}`" for option in options)
    if "tuple" in text:
        return "list"
    for word, name in (("bool", "true or false"), ("float", "number"), ("int", "number")):
        if word in text:
            return name
    return "path" if "Path" in text else "text"


def _literals(annotation: Any) -> Iterator[Any]:
    for argument in getattr(annotation, "__args__", ()):
        if isinstance(argument, str):
            yield argument
        else:
            yield from _literals(argument)


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None or value == () or value == "":
        return ""
    return f"`{spell(value) if Spelled in field.metadata else value}`"


# -- commands ---------------------------------------------------------------------------------------------


def command_line() -> str:
    from monitor.cli import app

    lines = [
        "# Command line",
        "",
        "Exit codes: 0 done, 1 failed while running, 2 wrong usage or settings, 130 interrupted. Results go to "
        "standard output, everything else to standard error. `-` is standard input; `.gz` is read as it is. What "
        "documents come in is told by the file's name, or by its first bytes where the name says nothing "
        "(`/dev/stdin`).",
        "",
    ]
    for path, command in _commands(typer.main.get_command(app), "tapewatch"):
        usage = " ".join((p.name or "").upper() for p in command.params if p.param_type_name == "argument")
        lines += [f"## `{path}{' ' + usage if usage else ''}`", "", (command.help or "").strip(), ""]
        options = [p for p in command.params if p.param_type_name == "option" and "--help" not in p.opts]
        if options:
            lines += ["| option | what |", "|---|---|"]
            lines += [f"| `{'`, `'.join(p.opts)}` | {getattr(p, 'help', '') or ''} |" for p in options]
            lines.append("")
    return "\n".join(lines)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name in sorted(children):
        yield from _commands(children[name], f"{path} {name}")


# -- metrics ----------------------------------------------------------------------------------------------


def metrics() -> str:
    for package in PACKAGES:
        folder = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(folder, package + "."):
            if module.name not in OFFLINE and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    lines = [
        "# Metrics",
        "",
        "At `/metrics`. Labels come from closed sets or from the settings, never from texts.",
        "",
        "| metric | kind | labels | what |",
        "|---|---|---|---|",
    ]
    collectors: dict[int, Any] = {id(c): c for c in REGISTRY._collector_to_names if hasattr(c, "_labelnames")}
    rows = {}
    for collector in collectors.values():
        name = collector._name
        kind = collector._type
        if name.startswith("tapewatch_"):
            shown = f"{name}_total" if kind == "counter" else name
            labels = ", ".join(collector._labelnames)
            rows[shown] = f"| `{shown}` | {kind} | {labels} | {collector._documentation} |"
    return "\n".join([*lines, *(rows[name] for name in sorted(rows)), ""])


def main() -> None:
    """Writes every page."""
    for name, content in pages().items():
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()

"""From a TOML file and the environment to a tree of values, and from what is wrong with it to words for its author."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import BaseModel, ValidationError

ENVIRONMENT = "TAPEWATCH_"


class SettingsError(Exception):
    """Settings that can't work; the message has a line a problem."""


def read(path: Path | None, environ: Mapping[str, str], root: type[BaseModel]) -> dict[str, Any]:
    """The tree of a file (None: empty) with the environment's overrides, its paths made absolute."""
    tree = _read(path) if path is not None else {}
    _override(tree, environ, root)
    if path is not None:
        _default_paths(tree, root())
        _anchor(tree, path.resolve().parent)
        _anchor_model(tree, path.resolve().parent)
    return tree


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: not found; `tapewatch init` writes one to start from") from None
    except tomllib.TOMLDecodeError as error:
        # Not the line itself: it may hold a secret.
        hint = '; a text stands in quotation marks, as in kind = "feed"' if "Invalid value" in str(error) else ""
        raise SettingsError(f"{path}: {error}{hint}") from None
    except (UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path}: {error}") from None


def _override(tree: dict[str, Any], environ: Mapping[str, str], root: type[BaseModel]) -> None:
    for name, value in sorted(environ.items()):
        if not name.startswith(ENVIRONMENT):
            continue
        if "__" not in name:
            _refuse_slip(name, root)
            continue
        section, *steps, key = name.removeprefix(ENVIRONMENT).lower().split("__")
        if section not in root.model_fields:
            raise SettingsError(f"environment {name}: no section {section!r}; {_sections(root)}")
        if not is_section(root.model_fields[section].annotation):
            raise SettingsError(f"environment {name}: {section} is a list, which stands in the file alone")
        holder: Any = tree
        for step in (section, *steps):
            holder = holder.setdefault(step, {}) if isinstance(holder, dict) else None
        if not isinstance(holder, dict):
            raise SettingsError(f"environment {name}: {'.'.join((section, *steps))} is a value, which holds no keys")
        holder[key] = _parsed(value)


def _refuse_slip(name: str, root: type[BaseModel]) -> None:
    """A variable that is nearly a setting's: a section without a key, or one underscore for two. Others are somebody
    else's, such as those that Kubernetes makes of a service called tapewatch."""
    given = name.removeprefix(ENVIRONMENT).lower()
    if given in root.model_fields:
        example = next(iter(_variables(root, given)), None)
        remedy = f"a variable sets one key, as {example} does" if example else "its entries stand in the file alone"
        raise SettingsError(f"environment {name}: {given} is a section; {remedy}")
    for known in _variables(root):
        if known.replace("__", "_") == name.upper():
            raise SettingsError(f"environment {name}: is no setting; {known} is, with two underscores")


def _variables(root: type[BaseModel], section: str | None = None) -> Iterator[str]:
    """The variables that set something in a section, or in any."""
    for name in root.model_fields if section is None else (section,):
        annotation = root.model_fields[name].annotation
        if is_section(annotation):
            yield from _names(annotation, ENVIRONMENT + name.upper())


def _names(model: type[BaseModel], above: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = f"{above}__{(field.alias or name).upper()}"
        if is_section(field.annotation):
            yield from _names(field.annotation, inner)
        else:
            yield inner


def is_section(annotation: Any) -> TypeGuard[type[BaseModel]]:
    """Whether a field so annotated is a plain section, not a key or a list of sections."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _sections(root: type[BaseModel]) -> str:
    plain = [name for name, field in root.model_fields.items() if is_section(field.annotation)]
    return f"sections are {', '.join(plain)}"


def ignored(environ: Mapping[str, str]) -> list[str]:
    """Of each variable that begins as settings do and is none that it counts for nothing: whoever meant one should hear
    of it."""
    names = sorted(name for name in environ if name.startswith(ENVIRONMENT) and "__" not in name)
    return [f"environment {name}: is no setting, and ignored; one is {ENVIRONMENT}SECTION__KEY" for name in names]


def _parsed(value: str) -> Any:
    """A variable's value: JSON for lists and numbers, else the text itself."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _default_paths(tree: dict[str, Any], defaults: BaseModel) -> None:
    """Writes out the paths that were left to their default: these, too, start at the file's folder."""
    for name in type(defaults).model_fields:
        default = getattr(defaults, name)
        if isinstance(default, BaseModel):
            held = tree.setdefault(name, {})
            if isinstance(held, dict):
                _default_paths(held, default)
        elif isinstance(default, Path):
            tree.setdefault(name, str(default))


def _anchor(tree: Any, folder: Path) -> None:
    """Relative paths start at the file's folder."""
    if isinstance(tree, list):
        for entry in tree:
            _anchor(entry, folder)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            if key == "labels":  # whatever they are called, they hold no paths
                continue
            if isinstance(value, str) and (key in ("path", "registry") or key.endswith(("_file", "_dir"))):
                tree[key] = str(folder / Path(value).expanduser())
            else:
                _anchor(value, folder)


def _anchor_model(tree: dict[str, Any], folder: Path) -> None:
    """A model's name that is a path starts there, too."""
    model = tree.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    if isinstance(model, dict) and isinstance(name, str) and "/" in name:
        model["name"] = str(folder / name)


def explain(path: Path | None, tree: Any, error: ValidationError, root: type[BaseModel]) -> Iterator[str]:
    """A line a problem: file, key, value and what is allowed."""
    where = str(path) if path is not None else "settings"
    for entry in error.errors(include_url=False):
        steps = [step for step in entry["loc"] if not str(step).startswith(("str", "EntitySettings"))]
        key, value = _locate(tree, steps)
        message = entry["msg"].removeprefix("Value error, ")
        if entry["type"] == "extra_forbidden":
            message = f"unknown key{_suggest(steps, root)}"
            yield f"{where}: {key}: {message}"
        elif entry["type"] == "missing":
            yield f"{where}: {key}: is missing"
        elif isinstance(value, dict | list) or value is None or _secret(key):
            yield f"{where}: {key}: {message}" if key else f"{where}: {message}"
        else:
            yield f"{where}: {key} = {json.dumps(value, ensure_ascii=False, default=str)}: {message}"


def _locate(tree: Any, steps: list[Any]) -> tuple[str, Any]:
    """(the key as a person writes it, its value)."""
    parts: list[str] = []
    for step in steps:
        if isinstance(step, int):
            tree = tree[step] if isinstance(tree, list) and step < len(tree) else None
            name = tree.get("name") if isinstance(tree, dict) else None
            parts[-1] += f" #{step + 1}" + (f" ({name})" if isinstance(name, str) else "")
        else:
            parts.append("class" if step == "class_" else str(step))
            tree = tree.get(parts[-1]) if isinstance(tree, dict) else None
    return ".".join(parts), tree


def _secret(key: str) -> bool:
    last = key.rsplit(".", 1)[-1]
    return last.split(" ")[0] in ("secret", "secrets", "token", "reader_token", "url", "proxy", "password")


def _suggest(steps: list[Any], root: type[BaseModel]) -> str:
    model: Any = root
    for step in steps[:-1]:
        if isinstance(step, str) and isinstance(model, type) and issubclass(model, BaseModel):
            model = _model_of(model.model_fields[step].annotation) if step in model.model_fields else None
        if model is None:
            return ""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return ""
    allowed = [field.alias or name for name, field in model.model_fields.items()]
    near = get_close_matches(str(steps[-1]), allowed, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; allowed: {', '.join(allowed)}"


def _model_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_of(argument)
        if found is not None:
            return found
    return None

"""Whether what one definition writes another can read: JSON Schemas of records, and layouts of rows of state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

OMITS = {"Exhibit"}
"""Structs that leave out what has its default: the others always write every field."""


def unread(writer: dict[str, Any], reader: dict[str, Any]) -> list[str]:
    """Why some records that ``writer`` permits can't be read by ``reader``, which ignores fields that it doesn't know;
    nothing when all can. Both are JSON Schemas of one record, as msgspec makes them."""
    return list(_unread(writer, reader, (writer.get("$defs", {}), reader.get("$defs", {})), "", set()))


def _unread(writer: Any, reader: Any, defs: tuple[Any, Any], where: str, seen: set[tuple[str, str]]) -> Iterator[str]:
    pair = (str(writer.get("$ref")), str(reader.get("$ref")))
    if "None" not in pair and pair in seen:
        return
    seen = seen | {pair}
    writer, reader = _resolved(writer, defs[0]), _resolved(reader, defs[1])
    if "anyOf" in writer:
        for one in writer["anyOf"]:
            yield from _unread(one, reader, defs, where, seen)
    elif "anyOf" in reader:
        tried = [list(_unread(writer, one, defs, where, seen)) for one in reader["anyOf"]]
        if all(tried):
            yield min(tried, key=len)[0]
    elif "enum" in reader:
        if new := [value for value in writer.get("enum", ["any"]) if value not in reader["enum"]]:
            yield f"{where}: {new} is not among {reader['enum']}"
    elif reader.get("type") not in (None, writer.get("type")) and (writer.get("type"), reader["type"]) != (
        "integer",
        "number",
    ):
        yield f"{where}: {writer.get('type')} is no {reader['type']}"
    else:
        yield from _inside(writer, reader, defs, where, seen)


def _inside(writer: Any, reader: Any, defs: tuple[Any, Any], where: str, seen: set[tuple[str, str]]) -> Iterator[str]:
    if reader.get("pattern") not in (None, writer.get("pattern")):
        yield f"{where}: pattern {writer.get('pattern')!r} is no {reader['pattern']!r}"
    written = writer.get("required", []) if writer.get("title") in OMITS else writer.get("properties", {})
    for name in reader.get("required", []):
        if name not in written:
            yield f"{where}.{name}: is missing"
    for name, inner in writer.get("properties", {}).items():
        if name in reader.get("properties", {}):
            yield from _unread(inner, reader["properties"][name], defs, f"{where}.{name}", seen)
    for part in ("items", "additionalProperties"):
        if isinstance(writer.get(part), dict) and isinstance(reader.get(part), dict):
            yield from _unread(writer[part], reader[part], defs, f"{where}[]", seen)
    for place, (one, other) in enumerate(
        zip(writer.get("prefixItems", []), reader.get("prefixItems", []), strict=False)
    ):
        yield from _unread(one, other, defs, f"{where}[{place}]", seen)


def _resolved(schema: Any, defs: Any) -> Any:
    return defs[schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema


def lost(old: Any, new: Any, where: str = "") -> list[str]:
    """Why rows of the layout ``old`` can't be read under ``new``, or the other way about: a row without names grows at
    its end only, one with names keeps the type of each; and what is new has a default."""
    if not (isinstance(old, dict) and "fields" in old and isinstance(new, dict) and "fields" in new):
        if isinstance(old, dict) and isinstance(new, dict) and list(old) == list(new):
            return [why for name in old for why in _lost_in(old[name], new[name], where)]
        return [] if old == new else [f"{where}: was {old}, is {new}"]
    if old["array"] != new["array"]:
        return [f"{where}: had {'no ' * old['array']}names, has {'no ' * new['array']}names"]
    if old["array"]:
        return _lost_in_order(old["fields"], new["fields"], where)
    before, after = ({name: (needed, inner) for name, needed, inner in one["fields"]} for one in (old, new))
    found = [f"{where}.{name}: is new and has no default" for name in after if name not in before and after[name][0]]
    found += [
        f"{where}.{name}: is gone, and had no default" for name in before if name not in after and before[name][0]
    ]
    for name in before.keys() & after.keys():
        found += lost(before[name][1], after[name][1], f"{where}.{name}")
    return found


def _lost_in(old: Any, new: Any, where: str) -> list[str]:
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [why for one, other in zip(old, new, strict=True) for why in lost(one, other, where)]
    return lost(old, new, where)


def _lost_in_order(old: list[Any], new: list[Any], where: str) -> list[str]:
    names = [name for name, *_ in new]
    if [name for name, *_ in old] != names[: len(old)]:
        return [f"{where}: fields were {[name for name, *_ in old]}, are {names}: a row grows at its end only"]
    found = [f"{where}.{name}: is new and has no default" for name, needed, _ in new[len(old) :] if needed]
    for (name, _, before), (_, _, after) in zip(old, new, strict=False):
        found += lost(before, after, f"{where}.{name}")
    return found

"""What the dashboards are made of: queries, panels and variables as Grafana's JSON model has them (schema 39).

Plain functions that return plain dictionaries; ``boards`` says what they show. Datasource and addresses are variables
of each dashboard, so that the files work wherever they are imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

SCHEMA = 39
"""Version of Grafana's dashboard model: Grafana 10.2 and later read it."""

COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "text"
SEVERITIES = {"info": BLUE, "warning": YELLOW, "error": ORANGE, "critical": RED}


@dataclass(frozen=True)
class Query:
    """A PromQL query. ``legend`` as in {{label}}; ``table``: one row a series, as it stands now."""

    expr: str
    legend: str = ""
    table: bool = False

    def json(self, number: int) -> Json:
        made: Json = {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": self.expr, "editorMode": "code"}
        if self.table:
            return made | {"instant": True, "range": False, "format": "table"}
        return made | {"range": True, "legendFormat": self.legend or "__auto"}


@dataclass
class Panel:
    """One panel; ``wide`` of 24 columns, ``high`` in rows of some 30 pixels."""

    kind: str
    title: str
    description: str
    queries: Sequence[Query]
    unit: str
    wide: int = 8
    high: int = 8
    steps: Sequence[tuple[float | None, str]] = ((None, GREEN),)
    """Thresholds: from each value on its colour."""
    links: Sequence[Json] = ()
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    overrides: Sequence[Json] = ()
    transformations: Sequence[Json] = ()
    repeat: str = ""

    def json(self, number: int, x: int, y: int) -> Json:
        steps = [{"value": value, "color": color} for value, color in self.steps]
        made: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.wide, "h": self.high},
            "targets": [query.json(place) for place, query in enumerate(self.queries)],
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "thresholds": {"mode": "absolute", "steps": steps},
                    "links": list(self.links),
                    "custom": self.custom,
                    **self.defaults,
                },
                "overrides": list(self.overrides),
            },
            "options": self.options,
        }
        if self.transformations:
            made["transformations"] = list(self.transformations)
        if self.repeat:
            made |= {"repeat": self.repeat, "repeatDirection": "h", "maxPerRow": 2}
        return made


# -- panels -----------------------------------------------------------------------------------------------


def timeseries(title: str, description: str, *queries: Query, unit: str, stack: bool = False, **more: Any) -> Panel:
    """Lines over time; ``stack``: areas upon each other."""
    custom = {"lineWidth": 1, "fillOpacity": 30 if stack else 8, "showPoints": "never", "spanNulls": False}
    if stack:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    if len(more.get("steps", ())) > 1:
        custom["thresholdsStyle"] = {"mode": "line"}
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    defaults = {"color": {"mode": "palette-classic"}, **more.pop("defaults", {})}
    return Panel(
        "timeseries", title, description, queries, unit, options=options, custom=custom, defaults=defaults, **more
    )


def stat(title: str, description: str, query: Query, *, unit: str, wide: int = 4, high: int = 4, **more: Any) -> Panel:
    """One figure as it stands now, coloured by its thresholds."""
    options = {
        "colorMode": "background",
        "graphMode": "area",
        "justifyMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    }
    return Panel("stat", title, description, [query], unit, wide=wide, high=high, options=options, **more)


def table(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    columns: Mapping[str, str],
    hide: Sequence[str] = (),
    **more: Any,
) -> Panel:
    """Rows of labels and values; ``columns``: a field's name to its title, in this order. What is not named is hidden."""
    merge: Json = {"id": "merge", "options": {}}
    known = {name: place for place, name in enumerate(columns)}
    organize = {
        "id": "organize",
        "options": {
            "indexByName": known,
            "renameByName": dict(columns),
            "excludeByName": dict.fromkeys(("Time", "__name__", "instance", "job", *hide), True),
        },
    }
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}
    return Panel("table", title, description, queries, unit, options=options, transformations=[merge, organize], **more)


def heatmap(title: str, description: str, query: Query, *, unit: str, **more: Any) -> Panel:
    """How a histogram's values spread over time."""
    options = {
        "calculate": False,
        "yAxis": {"unit": unit},
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
        "cellGap": 1,
        "tooltip": {"mode": "single", "yHistogram": True},
    }
    return Panel("heatmap", title, description, [query], unit, options=options, **more)


def states(title: str, description: str, query: Query, *, words: Mapping[str, tuple[str, str]], **more: Any) -> Panel:
    """A band for each series; ``words``: a value to what it means and its colour."""
    mapping = {
        value: {"text": text, "color": color, "index": n} for n, (value, (text, color)) in enumerate(words.items())
    }
    options = {"mergeValues": True, "showValue": "never", "rowHeight": 0.85, "legend": {"showLegend": True}}
    defaults = {"mappings": [{"type": "value", "options": mapping}]}
    return Panel("state-timeline", title, description, [query], "short", options=options, defaults=defaults, **more)


def bars(title: str, description: str, query: Query, *, unit: str, **more: Any) -> Panel:
    """A bar for each series, as it stands now."""
    options = {
        "displayMode": "gradient",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return Panel("bargauge", title, description, [query], unit, options=options, **more)


# -- parts of panels --------------------------------------------------------------------------------------


def series(name: str, **properties: Any) -> Json:
    """An override for the series of this legend."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def column(
    name: str, *, unit: str = "", link: Json | None = None, words: Mapping[str, tuple[str, str]] | None = None
) -> Json:
    """An override for a table's column, by its field's name."""
    properties: Json = {}
    if unit:
        properties["unit"] = unit
    if link is not None:
        properties["links"] = [link]
    if words is not None:
        options = {value: {"text": text, "color": color} for value, (text, color) in words.items()}
        properties["mappings"] = [{"type": "value", "options": options}]
        properties["custom.cellOptions"] = {"type": "color-text"}
    return series(name, **properties)


def link(title: str, url: str) -> Json:
    return {"title": title, "url": url, "targetBlank": True}


def colored(names: Mapping[str, str]) -> list[Json]:
    """Fixed colours by legend."""
    return [series(name, color={"mode": "fixed", "fixedColor": color}) for name, color in names.items()]


# -- variables and dashboards -----------------------------------------------------------------------------


def variable(name: str, label: str, query: str, *, all_: bool = True, current: str = "") -> Json:
    """Values of a label; with ``all_`` also every one at once, those without the label too."""
    chosen = {"text": current, "value": [current]} if current else {"text": ["All"], "value": ["$__all"]}
    made: Json = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": all_,
        "current": chosen,
    }
    return made | ({"allValue": ".*"} if all_ else {})


DATASOURCE: Json = {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus"}
ADDRESS: Json = {
    "type": "textbox",
    "name": "tapewatch",
    "label": "tapewatch",
    "description": "Where people reach tapewatch's page; links lead there.",
    "query": "http://localhost:8686",
    "current": {"text": "http://localhost:8686", "value": "http://localhost:8686"},
}


@dataclass(frozen=True)
class Board:
    """A dashboard: rows of panels, by their titles."""

    uid: str
    title: str
    description: str
    rows: Mapping[str, Sequence[Panel]]
    variables: Sequence[Json] = ()
    annotations: Sequence[Json] = ()
    span: str = "now-6h"

    def json(self) -> Json:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["tapewatch"],
            "schemaVersion": SCHEMA,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": self.span, "to": "now"},
            "timezone": "",
            "templating": {"list": [DATASOURCE, *self.variables, ADDRESS]},
            "annotations": {"list": list(self.annotations)},
            "links": [
                {
                    "type": "dashboards", "title": "tapewatch", "tags": ["tapewatch"], "asDropdown": False,
                    "includeVars": False, "keepTime": True, "targetBlank": False, "icon": "external link", "url": "",
                },
                {
                    "type": "link", "title": "Page", "url": "${tapewatch}/", "targetBlank": True, "icon": "external link",
                    "tags": [], "asDropdown": False, "includeVars": False, "keepTime": False,
                },
            ],
            "panels": list(self._panels()),
        }  # fmt: skip

    def _panels(self) -> Iterator[Json]:
        number, y = 1, 0
        for title, panels in self.rows.items():
            yield {
                "id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            }  # fmt: skip
            number, y, x, high = number + 1, y + 1, 0, 0
            for panel in panels:
                if x + panel.wide > COLUMNS:
                    x, y, high = 0, y + high, 0
                yield panel.json(number, x, y)
                number, x, high = number + 1, x + panel.wide, max(high, panel.high)
            y += high

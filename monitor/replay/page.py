"""The report as a page: one file that asks for nothing, runs nothing and is read in any browser, light or dark."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from alerts.wording import link
from monitor import plots
from monitor.replay import drawing

LISTED = 300
"""Alerts in a table; the others are in report.json."""

STYLE = plots.STYLE + (Path(__file__).parent / "report.css").read_text(encoding="utf-8")

FIGURES = (
    ("documents", "documents"),
    ("scored", "judged"),
    ("months", "months"),
    ("alerts", "alerts"),
    ("alerts_per_key_month", "alerts per key and month"),
    ("entity_alerts_per_key_month", "alerts per company and month"),
    ("recall", "events found"),
    ("precision_lower_bound", "alerts that an event explains"),
    ("delay_days", "median delay in days"),
)


def render(report: Mapping[str, Any]) -> str:
    """A whole HTML document."""
    figures = report["figures"]
    title = f"Replay, {figures['from'][:10]} to {figures['to'][:10]}"
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1>",
        f'<p class="by">{escape(_about(report))}</p>',
        *_notes(report["notes"]),
        *_tiles(figures),
        *_curves(report),
        *_compared(report.get("compare")),
        *_events(report),
        *_timelines(report),
        *_alerts(report),
        *_untold(report),
        "</main></body></html>",
    ]
    return "".join(parts) + "\n"


def _about(report: Mapping[str, Any]) -> str:
    return (
        f"tapewatch {report['version']}, model {report['model']}, {report['figures']['watched_keys']} watched keys, "
        f"{report['budget']:g} false alarms allowed per key and month. Figures count alerts as these settings would "
        "have sent them, each once; the same figures are in report.json, the bodies that were sent in alerts.jsonl."
    )


def _notes(notes: Sequence[str]) -> Iterator[str]:
    if notes:
        lines = "".join(f"<li>{escape(one)}</li>" for one in notes)
        yield f"<section><h2>To bear in mind</h2><ul>{lines}</ul></section>"


def _tiles(figures: Mapping[str, Any]) -> Iterator[str]:
    yield '<dl class="tiles">'
    for name, words in FIGURES:
        if figures.get(name) is not None:
            interval = figures.get(f"{name}_interval")
            spread = f"<small>{interval[0]:,.4g} to {interval[1]:,.4g}</small>" if interval else ""
            yield f"<div><dt>{words}</dt><dd>{_number(figures[name])} {spread}</dd></div>"
    yield "</dl>"
    if "recall" in figures:
        yield (
            '<p class="hint">Behind a figure its 95 % interval. That an alert matches no event does not make it false: '
            "the events may not be all there were.</p>"
        )


def _curves(report: Mapping[str, Any]) -> Iterator[str]:
    curve, budget = report["curve"], report["budget"]
    drawn = [
        drawing.curve(curve, name, words, share=share, at=budget)
        for name, words, share in (
            ("judged_bursts_per_key_month", "bursts per key and month", False),
            ("recall", "events found", True),
        )
        if any(point.get(name) is not None for point in curve)
    ]
    if not drawn:
        return
    yield '<section><h2>Other budgets</h2><p class="hint">The same evidence, each key at the budget below. Bars: 95 % '
    yield "intervals; broken line: bursts as many as allowed; upright line: the budget that was replayed.</p>"
    yield f'<p class="hint">{escape(_beside(report))}</p>'
    yield f'<div class="charts">{"".join(drawn)}</div><div class="scroll"><table><thead><tr><th>budget<th>bursts'
    labelled = any("events_found" in point for point in curve)
    yield f"<th>per key and month{'<th>events found<th>recall<th>median delay' if labelled else ''}</thead><tbody>"
    for point in curve:
        yield (
            f"<tr><td>{point['budget']:g}<td>{point['judged_bursts']}"
            f"<td>{_ranged(point, 'judged_bursts_per_key_month')}"
        )
        if labelled:
            yield f"<td>{point['events_found']}<td>{_ranged(point, 'recall')}<td>{_days(point.get('delay_days'))}"
    yield "</tbody></table></div></section>"


def _beside(report: Mapping[str, Any]) -> str:
    """What the curve counts, and the same of the replayed settings."""
    alone, figures = report["bursts_alone"], report["figures"]
    told = f"{alone['judged_bursts']} bursts"
    if "events_found" in alone:
        told += f" and {alone['events_found']} events found"
        told += f", where {figures['judged_alerts']} alerts found {figures['events_found']}"
    return (
        "Counted here are bursts, key by key, before any is folded into another alert, silenced or routed, and no "
        f"alerts of other rules. The replayed settings, counted like that: {told}."
    )


def _compared(compare: Mapping[str, Any] | None) -> Iterator[str]:
    if compare is None:
        return
    changes = compare["changes"]
    yield f"<section><h2>With {escape(compare['with'])}</h2><p>{compare['same']} alerts are the same, "
    yield f"{compare['appears']} appear, {compare['vanishes']} vanish, {compare['moves']} move.</p>"
    yield f'<ul class="stories">{"".join(f"<li>{escape(one)}</li>" for one in compare["settings"])}</ul>'
    yield '<div class="scroll"><table><thead><tr><th>alert<th>of<th><th>why</thead><tbody>' if changes else ""
    for one in changes[:LISTED]:
        moment = _time(one["at"]) + (f" → {_time(one['other_at'])}" if one["other_at"] else "")
        yield f"<tr><td>{moment}<td>{escape(one['name'])}<td>{one['kind']}<td>{escape(one['why'])}"
    yield "</tbody></table></div>" if changes else ""
    if len(changes) > LISTED:
        yield f'<p class="hint">{len(changes) - LISTED} more are in report.json.</p>'
    yield "</section>"


def _events(report: Mapping[str, Any]) -> Iterator[str]:
    events = report["events"]
    if not events:
        return
    yield '<section><h2>Labelled events</h2><div class="scroll"><table><thead><tr><th>onset<th>of<th>what<th>rang'
    yield "<th>delay</thead><tbody>"
    for one in events:
        rang = one["rang"][:16].replace("T", " ") if one["rang"] else one["state"]
        if one["through"]:
            rang += f", as part of {one['through']}"
        yield (
            f'<tr class="{one["state"]}"><td>{_onset(one)}<td>{escape(one["entity"])}<td>{escape(one["what"])}'
            f"<td>{escape(rang)}<td>{_days(one['delay_days'])}"
        )
    yield "</tbody></table></div></section>"
    missed = [one for one in events if one["state"] == "missed"]
    if missed:
        yield "<section><h2>Missed events</h2>"
        for one in missed:
            yield f"<h3>{escape(one['entity'])}, {_onset(one)}: {escape(one['what'])}</h3>"
            yield f'<p class="hint">{escape(_near(one["nearest"]))}</p>{_stories(one["stories"], "bad × relevant")}'
        yield "</section>"


def _near(nearest: Mapping[str, Any] | None) -> str:
    if nearest is None:
        return "No story about it counted from a day before to three days after."
    score, threshold = nearest["score"], nearest["threshold"]
    short = "reached its threshold, on too little evidence to ring" if score >= threshold else "came nearest to ringing"
    return f"{nearest['key']} {short}: score {score:g} of {threshold:g}. Its most telling stories of those days:"


def _timelines(report: Mapping[str, Any]) -> Iterator[str]:
    keys = report["keys"]
    if not keys:
        return
    episodes = {one["id"]: one for one in report["alerts"]}
    yield "<section><h2>Timelines</h2>"
    yield (
        '<p class="hint">Bars: bad stories, weighed as in alerts; band: where nine in ten counts are expected, line: '
        "the expectation. Flags: alerts, until they were over (hollow: no event explains it; faint: told to nobody, or "
        "part of another). Broken uprights: labelled events.</p>"
    )
    for key in keys:
        shown = key | {"events": [report["events"][number] for number in key["events"]]}
        about = f"{escape(key['key'])}, bins of {_width(key['bin_seconds'])}"
        yield f"<h3>{escape(key['name'])} <small>{about}</small></h3>"
        yield f'<div class="scroll">{drawing.timeline(shown, episodes)}</div>'
    if report["keys_left_out"]:
        yield f'<p class="hint">{report["keys_left_out"]} more keys rang and are not drawn.</p>'
    yield "</section>"


def _alerts(report: Mapping[str, Any]) -> Iterator[str]:
    sent = [one for one in report["alerts"] if one["sent"]]
    if not report["events"]:
        yield from _listed("Alerts", sent)
        return
    for title, matches in (
        ("Alerts that match no event", False),
        ("Alerts of keys of which events don't speak", None),
        ("Alerts that an event explains", True),
    ):
        yield from _listed(title, [one for one in sent if one["matches"] is matches])


def _listed(title: str, listed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not listed:
        return
    yield f"<section><h2>{title}</h2>"
    for one in listed[:LISTED]:
        yield (
            f"<details><summary>{_time(one['sent'])} <b>{escape(one['name'])}</b> "
            f'<span class="tag {one["severity"]}">{one["severity"]}</span></summary>'
            f"<p>{escape(one['summary'])}</p>"
            f'<p class="hint">{escape(one["key"])}: observed {one["observed"]:.3g}, expected {one["expected"]:.3g}; '
            f"score {one['score']:.3g} of {one['threshold']:.3g}</p>{_stories(one['stories'], 'nats')}</details>"
        )
    if len(listed) > LISTED:
        yield f'<p class="hint">{len(listed) - LISTED} more are in report.json.</p>'
    yield "</section>"


def _untold(report: Mapping[str, Any]) -> Iterator[str]:
    listed = [one for one in report["alerts"] if not one["sent"]]
    if not listed:
        return
    names = {one["id"]: one["name"] for one in report["alerts"]}
    yield '<section><h2>Told to nobody</h2><p class="hint">They count in no figure, and are not in alerts.jsonl. A '
    yield "burst that is part of another alert is listed in that one.</p>"
    yield '<div class="scroll"><table><thead><tr><th>began<th>of<th>key<th>why</thead><tbody>'
    for one in listed[:LISTED]:
        why = one["why"] + (f": {names.get(one['merged_into'], one['merged_into'])}" if one["merged_into"] else "")
        yield f"<tr><td>{_time(one['at'])}<td>{escape(one['name'])}<td>{escape(one['key'])}<td>{escape(why)}"
    yield "</tbody></table></div>"
    if len(listed) > LISTED:
        yield f'<p class="hint">{len(listed) - LISTED} more are in report.json.</p>'
    yield "</section>"


def _stories(stories: Iterable[Mapping[str, Any]], unit: str) -> str:
    lines = []
    for one in stories:
        words, address = escape(one["headline"]), link(one["url"])
        if address is not None:
            words = f'<a href="{escape(address)}" rel="noopener noreferrer nofollow">{words}</a>'
        by = f"{escape(one['publisher'])}, " if one["publisher"] else ""
        lines.append(f'<li>{words} <span class="by">{by}{_time(one["at"])}, {one["weight"]:g} {unit}</span></li>')
    return f'<ul class="stories">{"".join(lines)}</ul>' if lines else ""


def _time(moment: str) -> str:
    return f'<time datetime="{escape(moment)}">{escape(moment[:16].replace("T", " "))}</time>'


def _onset(event: Mapping[str, Any]) -> str:
    moment = event["onset"][:10] if event["dated"] else event["onset"]
    return _time(moment)


def _ranged(point: Mapping[str, Any], name: str) -> str:
    if point.get(name) is None:
        return ""
    low, high = point[f"{name}_interval"]
    return f"{point[name]:.3g} <small>{low:.3g} to {high:.3g}</small>"


def _days(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f} days"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _width(seconds: float) -> str:
    for unit, name in ((604_800, "week"), (86_400, "day"), (3_600, "hour")):
        if seconds >= unit:
            number = round(seconds / unit)
            return (
                f"a {name}" if number == 1 and name != "hour" else ("an hour" if number == 1 else f"{number} {name}s")
            )
    return f"{seconds / 60:.0f} minutes"

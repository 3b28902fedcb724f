"""What ``power`` found: in sentences, as a drawing over all keys, and as a page with a curve for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import msgspec

from alerts.power import SIZES
from alerts.wording import counted
from monitor import plots
from monitor.plots import Scale
from pipelines.power import Answer, Caught, Within

MOST = SIZES[-1]
TICKS = (1, 2, 3, 5, 10, 20, 50, 100)

WHOSE = {
    "own": "its own",
    "alike": "keys of its kind",
    "class": "all keys",
    "any": "all keys, news and posts",
}

PAGE = """
body { margin: 0 auto; max-width: 1000px; padding: 1rem; font: 15px/1.45 system-ui, "Segoe UI", Roboto, sans-serif;
  background: #f7f7f5; color: #1c1e21; }
section { background: #fff; border: 1px solid #d9dcdf; border-radius: 8px; padding: .8rem 1rem; margin: 0 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p, ul { margin: .3rem 0; } .soft { color: #5d646c; font-size: .88rem; } svg { max-width: 100%; height: auto; }
@media (prefers-color-scheme: dark) { body { background: #14171a; color: #e8eaed; }
  section { background: #1d2125; border-color: #353b41; } .soft { color: #a2a9b1; } }
"""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run found, and of what. ``names``: what people call the keys."""

    computed: str
    configuration: str
    history: str
    """Where it came from."""
    trials: int
    seed: int
    answers: list[Answer]
    names: dict[str, str] = {}


# -- in sentences -----------------------------------------------------------------------------------------


def sentences(found: Found) -> Iterator[str]:
    """Line by line."""
    for answer in found.answers:
        yield f"{found.names.get(answer.key, answer.key)} ({answer.key}), {answer.class_}: {about(answer)}"
        yield from (f"  {one}" for one in told(answer))


def about(answer: Answer) -> str:
    """What its figures rest on."""
    said = counted(answer.documents, "item")
    if answer.since is not None and answer.until is not None:
        said += f" from {answer.since[:10]} to {answer.until[:10]}"
    if answer.within:
        stories = counted(answer.stories_known, "bad story")
        said += f"; a crisis draws on {stories} of {WHOSE[answer.drawn_from]}, {answer.badness:.2f} bad on average"
    return said


def told(answer: Answer) -> Iterator[str]:
    """What is to be said of one key and class."""
    if answer.why is not None:
        yield f"no figure: {answer.why}"
    yield from answer.notes
    for within in answer.within:
        yield f"within {hours(within.seconds)}: {_both(within)}"


def _both(within: Within) -> str:
    if within.half is None:
        return f"{MOST} bad stories are not enough for 50 %"
    half = _caught(within.half, words=True)
    if within.most is None:
        return f"{half}; {MOST} are not enough for 90 %"
    return half if within.half.stories == within.most.stories else f"{half}; {_caught(within.most)}"


def _caught(caught: Caught, *, words: bool = False) -> str:
    stories = counted(caught.stories, "bad story") if words else str(caught.stories)
    said = f"{stories}: {caught.probability * 100:.0f} % ({caught.low * 100:.0f} to {caught.high * 100:.0f})"
    return said if caught.median_delay_seconds is None else f"{said}, median delay {hours(caught.median_delay_seconds)}"


def hours(seconds: float) -> str:
    """A length of time, short."""
    for size, unit in ((86_400.0, "d"), (3_600.0, "h")):
        if seconds >= size:
            return f"{round(seconds / size, 1):g} {unit}"
    return f"{round(seconds / 60):d} min"


# -- drawn ------------------------------------------------------------------------------------------------

ROW = 34.0
LEFT, RIGHT, WIDTH = 300.0, 40.0, 960.0


def overview(found: Found, *, style: bool = False) -> str:
    """For every key and class a line from the smallest crisis that rings every other time to the one that rings nine
    times in ten, for each length."""
    rows = [answer for answer in found.answers if answer.within]
    lengths = [within.seconds for within in rows[0].within]
    bottom = 44.0 + ROW * len(rows)
    scale = Scale(1, MOST, LEFT, WIDTH - RIGHT, logs=True)
    parts = [
        *plots.legend(LEFT, 14, [f"within {hours(length)}" for length in lengths]),
        plots.dot(WIDTH - 290, 14, "hollow c0"),
        plots.text(WIDTH - 281, 14, "50 % ring", kind="soft"),
        plots.dot(WIDTH - 205, 14, "dot c0"),
        plots.text(WIDTH - 196, 14, "90 % ring", kind="soft"),
        plots.text(WIDTH - 120, 14, f"› above {MOST}", kind="soft"),
        *plots.ticks_across(scale, TICKS, 34, bottom),
        plots.text(scale(10), bottom + 30, "bad stories", kind="soft", anchor="middle"),
    ]
    for number, answer in enumerate(rows):
        middle = 34 + ROW * (number + 0.6)
        name = found.names.get(answer.key, answer.key)
        parts.append(plots.text(LEFT - 12, middle, f"{_short(name)}, {answer.class_}", anchor="end"))
        for place, within in enumerate(answer.within):
            y = middle + (place - (len(lengths) - 1) / 2) * (ROW * 0.7 / len(lengths))
            parts += _span(scale, y, within, f"c{place}")
    told = "The smallest crises that ring, of each key, in bad stories"
    return plots.drawing(WIDTH, bottom + 44, parts, title=told, style=style)


def _span(scale: Scale, y: float, within: Within, colour: str) -> Iterator[str]:
    half, most = within.half, within.most
    if half is None:
        yield plots.text(scale(MOST) + 6, y, "›", kind=colour)
        return
    start, end = scale(half.stories), scale(most.stories if most is not None else MOST)
    yield plots.stroke(start, y, end, y, f"line {colour}")
    note = f"within {hours(within.seconds)}: "
    if most is not None:
        yield plots.dot(end, y, f"dot {colour}", radius=3.5, note=note + _caught(most, words=True))
    else:
        yield plots.text(end + 6, y, "›", kind=colour)
    if most is None or most.stories != half.stories:
        yield plots.dot(start, y, f"hollow {colour}", radius=3.5, note=note + _caught(half, words=True))


def curve(answer: Answer) -> str:
    """Probability over the number of stories, a line for each length."""
    across, up = Scale(1, MOST, 44, 560, logs=True), Scale(0, 1, 170, 30)
    parts = [
        *plots.legend(44, 12, [f"within {hours(within.seconds)}" for within in answer.within]),
        *plots.ticks_across(across, TICKS, 30, 170),
        *plots.ticks_up(up, (0, 0.5, 0.9, 1), 44, 560, per_cent=True),
        plots.text(across(10), 198, "bad stories", kind="soft", anchor="middle"),
    ]
    for place, within in enumerate(answer.within):
        points = [(across(stories), up(probability)) for stories, probability in within.curve if stories]
        parts.append(plots.line(points, f"c{place}"))
    return plots.drawing(580, 208, parts, title=f"{answer.key}, {answer.class_}: what rings, by the bad stories")


def page(found: Found) -> str:
    """All of it as one HTML file that loads nothing."""
    sections = "".join(_section(found, answer) for answer in found.answers)
    drawn = f"<section>{overview(found)}</section>" if any(answer.within for answer in found.answers) else ""
    lines = "".join(f"<p class=soft>{escape(line)}</p>" for line in _method(found))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>What would it catch?</title>'
        f'<meta name="viewport" content="width=device-width"><style>{PAGE}{plots.STYLE}</style></head><body>'
        f"<h1>What would it catch?</h1>{lines}{drawn}{sections}</body></html>\n"
    )


def _method(found: Found) -> Iterator[str]:
    yield (
        "Crises in what was recorded: at moments drawn evenly from each key's history the detector stands as it stood "
        "then, the key's own items go on as they were, and bad stories come among them, at times drawn evenly from the "
        "crisis's length. In brackets: 95 % intervals. Delays count from the crisis's beginning."
    )
    yield (
        f"History: {found.history}. Configuration {found.configuration}, computed {found.computed}, at most "
        f"{found.trials} crises for a figure, seed {found.seed}."
    )


def _section(found: Found, answer: Answer) -> str:
    name = escape(found.names.get(answer.key, answer.key))
    lines = "".join(f"<li>{escape(line)}</li>" for line in told(answer))
    drawn = curve(answer) if answer.within else ""
    return (
        f"<section><h2>{name} · {answer.class_} <span class=soft>{escape(answer.key)}</span></h2>"
        f"<p class=soft>{escape(about(answer))}</p><ul>{lines}</ul>{drawn}</section>"
    )


def _short(name: str, most: int = 36) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def enough(answers: Sequence[Answer]) -> bool:
    """Whether there is a figure at all."""
    return any(answer.within for answer in answers)

"""Search: documents that hold all words of a question, reprints folded, newest first."""

from __future__ import annotations

from typing import Any

import msgspec

from monitor.page.frame import Visit
from monitor.page.now import SENTIMENTS, asked_of, topics
from monitor.page.ranges import moment_of
from monitor.page.shown import document
from monitor.problems import Problem
from pipelines.answers import Answers
from pipelines.asking import LetGo

TOGETHER = 50


def view(answers: Answers, visit: Visit) -> dict[str, Any]:
    """A page of what the address asks for; nothing before it asks for something. ``after``: the place of the page
    before."""
    wanted, asked = asked_of(answers, visit)
    times = {name: visit.query.get(name, "").strip() for name in ("from", "to")}
    since, until = (moment_of(name, text) if text else None for name, text in times.items())
    if since is not None and until is not None and until <= since:
        raise Problem(400, "Bad range", "from lies before to")
    wanted = msgspec.structs.replace(wanted, since=since, until=until)
    began = visit.query.get("after", "")
    if began and not (began.isdecimal() and len(began) < 20):
        raise Problem(400, "Bad query", "after is the place that a page before leads on to")
    given = any(asked.values()) or any(times.values())
    try:
        found = answers.tape(wanted, TOGETHER, int(began) if began else None) if given else None
    except LetGo:
        raise Problem(410, "Gone", "the page before is not held any more: search again") from None
    return {
        "tape": [document(one) for one in found.entries] if found else [],
        "after": found.after[0] if found and found.after else None,
        "began": began,
        "asked": asked,
        "times": times,
        "filtered": given,
        "topics": topics(answers),
        "sentiments": SENTIMENTS,
    }

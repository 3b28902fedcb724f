"""Times in addresses."""

from __future__ import annotations

from monitor.problems import Problem, moment


def moment_of(name: str, text: str) -> float:
    """Seconds since 1970 of a time or of a day, which is its beginning in UTC. Raises Problem."""
    try:
        return moment(text if "T" in text or text.isdecimal() else f"{text}T00:00:00Z")
    except ValueError:
        raise Problem(400, "Bad range", f"{name} {text[:40]!r} is no day or time, as in 2026-01-31") from None

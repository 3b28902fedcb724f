"""One event, one alert: whole markets through all stages."""

from __future__ import annotations

from benchmarks.merging import NAMES as COMPANIES
from benchmarks.merging import crisis_in_shock, shock, two_companies
from benchmarks.merging import run as play


def test_a_shock_over_500_companies_is_one_alert() -> None:
    """While it lasts, and in the eight hours after, in which some companies get a bad story more."""
    found = play(shock, 5)
    assert len(found.rang) > 500, "it did not burst at the companies"
    assert found.alerts == ["market"]


def test_a_crisis_in_such_a_shock_rings() -> None:
    found = play(crisis_in_shock, 3)
    assert found.alerts == ["market", f"entity:{COMPANIES[7].lower()}"]


def test_two_unrelated_crises_in_one_hour_are_two_alerts() -> None:
    found = play(two_companies, 7)
    assert len(found.rang) >= 4, "it burst at the companies alone"
    assert [key.split(":")[0] for key in found.alerts] == ["entity", "entity"]

"""The labels of the shipped heads. At run time labels come from the model's card; these are training's."""

from __future__ import annotations

from typing import NamedTuple

SENTIMENTS = ("negative", "neutral", "positive")

MIXED = "mixed"
"""A training label, never a class: half negative, half positive, as a soft target."""

TOPICS = (
    "Analyst Update",
    "Company | Product News",
    "Currencies",
    "Dividend",
    "Earnings",
    "Energy | Oil",
    "Fed | Central Banks",
    "Financials",
    "General News | Opinion",
    "Gold | Metals | Materials",
    "IPO",
    "Legal | Regulation",
    "M&A | Investments",
    "Macro",
    "Markets",
    "Personnel Change",
    "Politics",
    "Stock Commentary",
    "Stock Movement",
    "Treasuries | Corporate Debt",
)

RISKS = (
    "fraud",
    "corruption",
    "arrest",
    "investigation",
    "litigation",
    "sanction",
    "regulatory_ban",
    "accident",
    "recall",
    "product_failure",
    "disruption",
    "cyber",
    "insolvency",
    "default",
    "accounting",
    "short_seller",
    "downgrade",
    "profit_warning",
    "layoffs",
    "closure",
    "strike",
    "management_exit",
    "misconduct",
    "backlash",
    "deal_loss",
)
"""Adverse events (docs/risk.md defines each). A text or an entity may have several, most have none."""


class Labels(NamedTuple):
    """The labels of a model's heads that may differ from the shipped one's; moods are SENTIMENTS everywhere."""

    topics: tuple[str, ...] = TOPICS
    risks: tuple[str, ...] = RISKS

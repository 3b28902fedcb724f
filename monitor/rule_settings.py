"""The section ``[[rules]]``: what rings beside bursts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from alerts.flash import PUBLISHERS
from alerts.rules import FlashRule, Rules, SilenceRule
from monitor.sections import UNITS, Duration, Name, Positive, Section, most

OWN = {
    "flash": ("risks", "topics", "phrases", "probability", "publishers", "within", "cooldown"),
    "silence": ("expected",),
}
"""By kind: the keys that only it has."""


class RuleSettings(Section):
    """What rings beside bursts (docs/alerts.md): one devastating story, or a volume that is gone."""

    kind: Literal["flash", "silence"] = Field(
        description="flash: one devastating story about a company; silence: nothing about a company or a watch-list "
        "where much is usual, while its sources live."
    )
    name: Name = Field(description="Its name, in alerts.")
    risks: tuple[str, ...] | None = Field(None, description="flash: kinds of adverse events, as in insolvency.")
    topics: tuple[str, ...] | None = Field(None, description="flash: topics, spelled as in the model's card.")
    phrases: tuple[str, ...] | None = Field(
        None,
        description="flash: words of the headline or of what is read below it, in any case. A story that has any "
        "of risks, topics and phrases will do.",
    )
    probability: float | None = Field(
        None,
        ge=0.5,
        lt=1.0,
        description="flash: least probability that the story is bad news for the company (default 0.9).",
    )
    publishers: int | None = Field(
        None, ge=1, le=PUBLISHERS, description="flash: independent publishers that must tell it (default 1)."
    )
    within: Annotated[Positive, most(7 * UNITS["d"])] | None = Field(
        None, description='flash: time within which they must (default "1h"); at most 7d.'
    )
    cooldown: Annotated[Duration, most(30 * UNITS["d"])] | None = Field(
        None,
        description='flash: time without another such story after which the alert is over (default "1d"); not '
        "less than within, at most 30d.",
    )
    expected: float | None = Field(
        None, ge=10.0, le=10_000.0, description="silence: fewest items that must be usual in a gap (default 10)."
    )
    false_alarms_per_month: float = Field(
        1.0,
        gt=0,
        le=1_000.0,
        description="False alarms a month that you are willing to get of the rule, all its keys "
        "together. flash: what `tapewatch rules check` measures it by; silence: sets its threshold.",
    )
    watchlists: tuple[str, ...] = Field((), description="Names of watch-lists; default: all.")

    @model_validator(mode="after")
    def _usable(self) -> RuleSettings:
        for kind, names in OWN.items():
            for name in names if kind != self.kind else ():
                if getattr(self, name) is not None:
                    raise ValueError(f"a rule of kind {self.kind} has no {name}")
        if self.kind == "flash":
            if not (self.risks or self.topics or self.phrases):
                raise ValueError('rings for nothing; give risks, topics or phrases, as in risks = ["insolvency"]')
            if any(len(phrase.strip()) < 2 for phrase in self.phrases or ()):
                raise ValueError("phrases: one of fewer than two characters is in every text")
            rule = self.flash()
            if rule.cooldown < rule.within:
                raise ValueError("cooldown must not be less than within")
        return self

    def flash(self) -> FlashRule:
        """The rule, of kind flash."""
        given = {name: getattr(self, name) for name in OWN["flash"] if getattr(self, name) is not None}
        return FlashRule(name=self.name, budget=self.false_alarms_per_month, watchlists=self.watchlists, **given)

    def silence(self) -> SilenceRule:
        """The rule, of kind silence."""
        given = {"expected": self.expected} if self.expected is not None else {}
        return SilenceRule(name=self.name, budget=self.false_alarms_per_month, watchlists=self.watchlists, **given)


def rules_of(entries: tuple[RuleSettings, ...]) -> Rules:
    """As the stages take them."""
    return Rules(
        flash=tuple(entry.flash() for entry in entries if entry.kind == "flash"),
        silence=tuple(entry.silence() for entry in entries if entry.kind == "silence"),
    )

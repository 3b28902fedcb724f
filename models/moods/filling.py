"""Fills a template: the notation of ``models.risk.grammar``, with the sentiment toward a company as its mark.

{A=-} {A=+}     negative or positive toward A, whatever the text is ({A=0} neutral, {A=?} not judged); said once
{A=-fraud}      and these events happen to it; without any a negative one has the text's, the others have none
{A=-none}       negative, and nothing of what the text tells happens to it
{A's:bank=-}    form, sector, mark
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from models.labelled import Labels, Place, Standing, standing
from models.risk.grammar import Draft, Filling
from models.risk.material import Material, RiskDataError
from models.risk.material import Template as Words

ROLE = re.compile(r"([A-D])('s|\*|\$|~|\^'s|\^)?(?::([a-z|]+))?(?:=([-+0?])([a-z_,]*))?")


class Template(NamedTuple):
    """A line with slots. ``split``: the part that it and its companies are of."""

    line: str
    labels: Labels
    split: str
    place: Place

    @property
    def origin(self) -> str:
        return f"{self.place.path.name}:{self.place.line}"


class Marked(Filling):
    """One text with how each of its companies fares."""

    roles = ROLE

    def __init__(self, template: Template, material: Material, rng: random.Random) -> None:
        super().__init__(Words(template.line, "", False, template.split, template.origin, {}), material, rng)
        self._source = template
        self.standings: dict[str, Standing] = {}
        """By the names of the draft's entities; who is not in it is an actor."""

    def draft(self) -> Draft:
        """Raises MaterialError."""
        try:
            self._write(self._template.line)
        except RiskDataError as error:
            self._source.place.refuse("text", self._template.line, f"can't be filled ({error}); mend the slot")
        if re.search(r"[{}<>|]", self._text):
            self._source.place.refuse("text", self._template.line, "has a bracket without its pair; mend it")
        self.standings = {self._cast[role].long: one for role, one in self.standings.items()}
        return Draft(self._text, self._source.labels.risks or (), self._entities())

    def _mark(self, role: str, *mark: str | None) -> None:
        sign, events = mark
        if sign is not None or role not in self.standings:
            self.standings[role] = standing(self._source.place, self._source.labels, sign, events or "")

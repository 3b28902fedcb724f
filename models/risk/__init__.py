"""Training texts about adverse events: composed by a grammar over material written for this project.

``material`` reads the files, ``grammar`` fills one template, ``compose`` makes the training and validation parts,
``heldout`` reads the test set, which was written by hand apart from the grammar. docs/risk.md defines the labels.

RiskDataError    a file of the material that can't be read as it stands: names file, section, line and remedy
"""

from models.risk.compose import compose
from models.risk.heldout import held_out
from models.risk.material import RiskDataError
from models.risk.records import Entity, Text

__all__ = ["Entity", "RiskDataError", "Text", "compose", "held_out"]

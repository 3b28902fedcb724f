"""Headlines that try a model's understanding, phenomenon by phenomenon: read, never trained on.

ChallengeError    a file of them that can't be read as it stands: names file, line, field, value and remedy
"""

from models.challenge.headlines import KINDS, PHENOMENA, ChallengeError, Entity, Headline, headlines

__all__ = ["KINDS", "PHENOMENA", "ChallengeError", "Entity", "Headline", "headlines"]

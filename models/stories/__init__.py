"""Pairs of texts that tell one news item twice, or nearly do. They try what tells stories apart; never trained on.

The file's errors are those of the challenge sets (``models.challenge.ChallengeError``).
"""

from models.stories.pairs import PHENOMENA, Pair, pairs, weights

__all__ = ["PHENOMENA", "Pair", "pairs", "weights"]

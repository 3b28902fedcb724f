"""Adapts a model to a user's own texts.

``table`` reads their file, ``split`` and ``examples`` make texts to learn from and to judge by of it: with these the
daemon's environment can tell whether a file is fit. The rest learns, and belongs to the training environment.

FinetuneError    a file that can't be learned from: everything wrong with it, by kind, with lines and remedies
"""

from models.finetune.examples import Own, load
from models.finetune.table import FinetuneError

__all__ = ["FinetuneError", "Own", "load"]

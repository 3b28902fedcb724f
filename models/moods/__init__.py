"""English training texts of the project's own about moods: who gains, who loses, and what is merely so.

``texts/`` holds templates under headings (``models.labelled``), ``filling`` fills one, with the companies, words and
figures of ``models.risk``, ``compose`` makes the training and validation parts.
"""

from models.moods.compose import compose

__all__ = ["compose"]

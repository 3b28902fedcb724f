"""Chinese training texts of the project's own: templates in both scripts, and what fills them."""

from models.chinese.compose import compose

__all__ = ["compose"]

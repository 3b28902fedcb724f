"""Chinese training texts of the project's own: templates in both scripts, and what fills them."""

from models.chinese.compose import Text, compose
from models.chinese.filling import Entity
from models.chinese.material import ChineseDataError

__all__ = ["ChineseDataError", "Entity", "Text", "compose"]

"""What tests of composed texts share."""

from collections import defaultdict

from models.labelled import Text


def kept_together(texts: list[Text]) -> dict[str, list[Text]]:
    """The texts of each template."""
    found = defaultdict(list)
    for text in texts:
        found[text.origin].append(text)
    return found

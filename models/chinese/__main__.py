"""``python -m models.chinese``: prints how many texts there are, of what."""

import json

from models.chinese.compose import compose, counts

if __name__ == "__main__":
    print(json.dumps(counts(compose()), ensure_ascii=False, indent=2))  # noqa: T201 (a command's output)

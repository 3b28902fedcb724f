"""Writes a set to adapt the model to, as a user's could be: texts of the project's own about labour and other trouble.

    python -m benchmarks.finetune own.csv
    tapewatch models finetune --data own.csv --new-topic Labour --out adapted

Layoffs and strikes have the topic Labour, which the shipped model has not; other events have the topic that a desk
would give them.
"""

import csv
import random
import sys
from pathlib import Path

from models.risk import compose

TOPICS = {
    "layoffs": "Labour",
    "strike": "Labour",
    "downgrade": "Analyst Update",
    "litigation": "Legal | Regulation",
    "sanction": "Legal | Regulation",
    "management_exit": "Personnel Change",
    "profit_warning": "Earnings",
    "recall": "Company | Product News",
}
EACH = 120


def rows(each: int = EACH) -> list[tuple[str, str]]:
    """(text, topic) of texts that tell of one kind of event alone, ``each`` a kind at most."""
    texts = [text for text in compose() if len(text.risks) == 1 and " + " not in text.origin]
    random.Random(7).shuffle(texts)
    found = []
    for kind, topic in TOPICS.items():
        found += [(text.text, topic) for text in texts if text.risks == (kind,)][:each]
    return found


def main() -> None:
    with Path(sys.argv[1]).open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target)
        writer.writerow(["text", "topic"])
        writer.writerows(rows())


if __name__ == "__main__":
    main()

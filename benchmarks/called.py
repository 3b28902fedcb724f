"""Headlines that a model calls adverse and others, drawn at random, to be read by eye.

    python -m benchmarks.called HEADLINES [--draw 3000] [--show 75] [--seed 11] [--model default]

HEADLINES: CSV, plain or gzipped, with a column ``headline`` or ``title``. Prints the share of the drawn ones that is
called adverse and the share whose mood is negative, then so many of either kind, each with its probability of an
adverse event and the kinds that were named. Texts are read where they lie and go nowhere but to the terminal.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import pandas as pd

from models.classifier import load
from models.reading import scoring_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("headlines", type=Path)
    parser.add_argument("--draw", type=int, default=3_000)
    parser.add_argument("--show", type=int, default=75)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--model", default="default")
    arguments = parser.parse_args()
    table = pd.read_csv(arguments.headlines, dtype=str, keep_default_na=False)
    column = next((name for name in ("headline", "title") if name in table), None)
    if column is None:
        parser.error(f"{arguments.headlines}: columns {', '.join(table)}: none is headline or title")
    classifier = load(arguments.model)
    if not classifier.risks:
        parser.error(f"model {classifier.name} has no head for adverse events; name one that has")
    rng = random.Random(arguments.seed)
    titles = rng.sample(list(table[column]), min(arguments.draw, len(table)))
    judged = list(zip(titles, classifier.predict([scoring_text(title) for title in titles]), strict=True))
    called = [(title, answer) for title, answer in judged if answer.risk is not None and answer.risk.adverse]
    others = [(title, answer) for title, answer in judged if answer.risk is not None and not answer.risk.adverse]
    negative = classifier.sentiments.index("negative")
    moody = sum(answer.sentiment[negative] == max(answer.sentiment) for _, answer in judged)
    print(f"of {len(judged)} headlines {len(called) / len(judged):.3f} are called adverse, ", end="")
    print(f"the mood of {moody / len(judged):.3f} is negative")
    for name, part in (("called adverse", called), ("not called adverse", others)):
        print(f"\n{name}:")
        for title, answer in rng.sample(part, min(arguments.show, len(part))):
            assert answer.risk is not None
            kinds = ", ".join(kind for kind, _ in answer.risk.kinds)
            print(f"{answer.risk.probability:.2f}  {title}" + (f"  [{kinds}]" if kinds else ""))


if __name__ == "__main__":
    main()

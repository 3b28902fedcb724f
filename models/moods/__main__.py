"""``python -m models.moods [--show N [FILE]]``: prints how many texts there are, of what, or N of them."""

import argparse
import json
import random

from models.labelled import counts
from models.moods.compose import compose

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m models.moods", description="counts the texts, or shows some")
    parser.add_argument("--show", type=int, metavar="N", help="show so many, drawn at random")
    parser.add_argument("file", nargs="?", default="", help="only those of this file (without .txt)")
    arguments = parser.parse_args()
    texts = [text for text in compose() if text.origin.startswith(arguments.file)]
    if arguments.show is None:
        print(json.dumps(counts(texts), indent=2))  # noqa: T201 (a command's output)
    else:
        for text in random.sample(texts, min(arguments.show, len(texts))):
            toward = "; ".join(f"{one.name} {one.sentiment} {','.join(one.risks or ())}" for one in text.entities)
            print(f"{text.text}\n    {text.sentiment} / {text.topic} / {text.risks} -- {toward}")  # noqa: T201 (a command's output)

"""``python -m models.stories FOLDER``: P(same story) of a model's embedding, fitted on the pairs anew and written to
its card. An export does it too."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
from tokenizers import Tokenizer

from models import card as cards
from models.figures import story_of_pairs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.stories", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        card = cards.read(folder)
    except cards.CardError as error:
        raise SystemExit(str(error)) from None
    if card.story is None:
        raise SystemExit(f"{folder}: the model has no head for stories; name one that has")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    head = story_of_pairs(folder / "model.onnx", tokenizer, card.max_tokens)
    cards.write(folder, msgspec.structs.replace(card, story=head))
    print(f"{folder}: slope {head.slope}, offset {head.offset}; was {card.story.slope}, {card.story.offset}")  # noqa: T201


if __name__ == "__main__":
    main()

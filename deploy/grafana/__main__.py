"""``python -m deploy.grafana``: writes the dashboards that Grafana loads, from what ``boards`` says they show."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.grafana.boards import delivery, model, newsroom, pipeline, sources

FOLDER = Path(__file__).parent / "dashboards"
BOARDS = {
    "newsroom": newsroom.BOARD,
    "pipeline": pipeline.BOARD,
    "sources": sources.BOARD,
    "delivery": delivery.BOARD,
    "model": model.BOARD,
}


def files() -> dict[Path, str]:
    """Path to content."""
    return {
        FOLDER / f"{name}.json": json.dumps(board.json(), indent=2, ensure_ascii=False) + "\n"
        for name, board in BOARDS.items()
    }


def main() -> None:
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()

"""What many commands are given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CONFIG = Path("tapewatch.toml")

Config = Annotated[Path, typer.Option("-c", "--config", help="The settings file.")]
Input = Annotated[str, typer.Argument(help="A file, .gz too, or - for standard input.")]
Inputs = Annotated[list[Path], typer.Argument(help="Files of documents: JSON Lines, CSV or Parquet, .gz too.")]

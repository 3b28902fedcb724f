"""The command: ``tapewatch`` and ``python -m monitor``."""

import sys


def main() -> None:
    """Runs the command line. Loading it takes a second in which somebody may press Ctrl-C, too."""
    try:
        from monitor.cli import main as command

        command()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201 (the command's answer)
        sys.exit(130)


if __name__ == "__main__":
    main()

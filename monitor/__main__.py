"""``python -m monitor`` is ``tapewatch``."""

from monitor.cli import main

if __name__ == "__main__":
    main()

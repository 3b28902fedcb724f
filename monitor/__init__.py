"""The daemon: settings, command line, wiring, web page and observability."""

__version__ = "0.1.0"

"""Streams: what a stage may ask of an engine, and the engines."""

"""Channels: how an alert leaves the house."""

"""Sources: one protocol, one file a source, one registry."""

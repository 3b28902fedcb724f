"""The fictional newsroom of `tapewatch demo`: scenario, feed server, receiver."""

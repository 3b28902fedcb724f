"""The page: HTML that the daemon makes itself, and that a little script keeps up to date."""

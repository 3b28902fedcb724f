"""What ``tapewatch replay`` is made of: what it reads, how it plays it, what the outcome comes to, and the report."""

"""Rules that others ring by, an oracle, and the shipped detector, all over the same simulated evidence.

What rings is a score at or above a threshold; ``scores`` says how. ``counts`` and ``rules`` hold those over counts in a
window, ``sequential`` those that watch for a change, ``shipped`` the production class; ``judge`` says what alarms were
worth, ``report`` shows it.
"""

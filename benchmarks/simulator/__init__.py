"""Streams of news and of posts whose truth is known: what is usual, what happens, and when.

``world`` says what a class's streams are like, ``rates`` how often a key's items come and how many are bad,
``happenings`` when it bursts and what only looks like it, ``items`` what a detector is given of all that.
"""

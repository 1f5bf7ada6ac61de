"""Believable posts with no network, for a first look and for development.

In the order of reading:

    words.py   what is invented: hashtags, authors, sentences
    posts.py   which posts there are at a time; pure
    source.py  the source: a day that is over, then posts as their time comes
"""

from app.sources.demo.source import Demo

SOURCE = Demo

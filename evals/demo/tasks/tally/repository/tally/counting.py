"""Splitting a text into words and counting them."""

import re
from collections import Counter

SMALL_WORDS = ("a", "an", "and", "in", "of", "the", "to")
"""What is left out unless something else is asked for."""

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def count_words(text, ignore=SMALL_WORDS, case=False):
    """Count the words of `text` that are not in `ignore`; lower-cased, unless `case` matters."""
    if not case:
        text = text.lower()
        ignore = [word.lower() for word in ignore]
    counts = Counter(_WORD.findall(text))
    for word in ignore:
        del counts[word]
    return counts

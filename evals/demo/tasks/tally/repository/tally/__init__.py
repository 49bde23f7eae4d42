"""Counts the words of a text."""

from tally.counting import SMALL_WORDS, count_words

__all__ = ["SMALL_WORDS", "count_words"]

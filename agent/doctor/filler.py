"""Text of a wanted length in tokens, and marks that keep one request out of another's cache."""

import secrets

_WORDS = (
    *("time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school", "state"),
    *("family", "student", "group", "country", "problem", "hand", "part", "place", "case", "week", "company", "system"),
    *("program", "question", "work", "government", "number", "night", "point", "home", "water", "room", "mother"),
)  # fmt: skip
"""Short words that nearly every vocabulary has as one token."""


def mark() -> str:
    """Eight digits, random, for the beginning of a prompt: whatever follows cannot come from a cache."""
    return f"{secrets.randbelow(90_000_000) + 10_000_000}"


def digits(count: int) -> str:
    """A random number with so many digits, the first of them not 0."""
    return str(secrets.randbelow(9 * 10 ** (count - 1)) + 10 ** (count - 1))


def words(count: int) -> str:
    """So many words: about as many tokens."""
    return " ".join(_WORDS[number % len(_WORDS)] for number in range(count))

"""Which texts are taken for what differs from them in whitespace, and which are not."""

import textwrap

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tools.editor_matching import find_tolerant


def replaced(text: str, old: str, new: str) -> str | None:
    """The text after the replacement; None when there is none."""
    match = find_tolerant(text, old, new)
    return text[: match.start] + match.new + text[match.end :] if match else None


CLASS = "class A:\n    def first(self):\n        return 1\n\n    def second(self):\n        return 2\n"
TABS = "class A:\n\tdef first(x):\n\t\treturn 1\n"


@pytest.mark.parametrize(
    ("text", "old", "new", "result"),
    [
        # too little indentation, too much, tabs for spaces, spaces for tabs
        (
            CLASS,
            "def first(self):\n    return 1",
            "def first(self):\n    if self:\n        return 1",
            CLASS.replace("        return 1", "        if self:\n            return 1"),
        ),
        (
            CLASS,
            "        def first(self):\n            return 1\n",
            "        def one(self):\n            return 1\n",
            CLASS.replace("first", "one"),
        ),
        (CLASS, "\tdef first(self):\n\t\treturn 1", "\tdef one(self):\n\t\treturn 1", CLASS.replace("first", "one")),
        (TABS, "    def first(x):\n        return 1", "    def f(x):\n        return 1", TABS.replace("first", "f")),
        (TABS, "  def first(x):\n    return 1", "  def one(x):\n    return 1", TABS.replace("first", "one")),
        # whitespace at line ends, of which that of quoted lines stays
        ("one two three  \nfour\t\n", "one two three\nfour", "one two three\nfive", "one two three  \nfive\n"),
        ("one two three\nfour\n", "one two three \nfour \n", "one two three \n4\n", "one two three\n4\n"),
        ("a b\n   \nlonger line\n", "a b\n\nlonger line\n", "a b\n\nother\n", "a b\n   \nother\n"),
        # no last newline in the file, nothing to put there
        ("first line \nsecond line", "first line\nsecond line\n", "other line\n", "other line"),
        ("before\nthe first line \nafter\n", "the first line\n", "", "before\nafter\n"),
    ],
)  # fmt: skip
def test_what_differs_in_whitespace_alone_is_found(text: str, old: str, new: str, result: str) -> None:
    assert replaced(text, old, new) == result


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("  call(first, second)\n    call(first, second)\n", "\tcall(first, second)", "x"),  # two places
        ("  return x \n", "    return x", "y"),  # too short to be no coincidence
        ("  configuration_of_everything \n", "   configuration_of_everything", "y"),  # one word
        ("if first:\n    return second\n", "    if first:\n      return second", "x"),  # not the same everywhere
        ("if first:\n    return second\n", " if first:\n     return  second", "x"),  # between words too
        ("    return value of it\n", "  return value of it", "    return value of it"),  # about whitespace
        ("    return value of it\n", "      return value of it", " other"),  # the new line is outside of it
        ("\treturn value of it\n", "    return value of it", "   other"),  # is that one tab?
        ("\treturn value of it\n", "return value of it \n", "if x:\n    other\n"),  # would mix tabs and spaces
        ("  first line of it\nnext\n", "   first line of it\n", "   other"),  # would join the next line
        ("  first line of it and more\n", "   first line of it", "   other"),  # no whole line
    ],
)
def test_what_would_be_a_guess_is_not(text: str, old: str, new: str) -> None:
    assert replaced(text, old, new) is None


def test_a_search_that_would_take_too_long_ends() -> None:
    assert replaced("same line again\n" * 100_000, "same line again \n" * 20_000 + "not this", "x") is None


_LINES = st.lists(
    st.tuples(
        st.integers(0, 4), st.sampled_from(["", "alpha = one", "beta(two, three)", "return gamma", "}", "if x:"])
    ),
    min_size=3,
    max_size=12,
)


@given(
    lines=_LINES,
    data=st.data(),
    prefix=st.sampled_from(["", "  ", "    ", "\t"]),
    ends=st.sampled_from(["", " ", "\t"]),
)
def test_a_block_that_is_shifted_and_frayed_is_replaced_as_if_it_had_been_exact(
    lines: list[tuple[int, str]], data: st.DataObject, prefix: str, ends: str
) -> None:
    there = ["    " * depth + word if word else "" for depth, word in lines]
    first = data.draw(st.integers(0, len(there) - 1))
    last = data.draw(st.integers(first + 1, len(there)))
    block, text = there[first:last], "\n".join(there) + "\n"
    bare = [line.strip() for line in there]
    assume(sum(bare[i : i + len(block)] == bare[first:last] for i in range(len(bare))) == 1)
    assume(sum(len("".join(line.split())) for line in block) >= 12)
    assume(len(" ".join(block).split()) > 1)
    shifted = "\n".join(
        (prefix + line if line else "") + ends for line in textwrap.dedent("\n".join(block)).split("\n")
    )
    new = "\n".join([prefix + "added one line", shifted])
    indentation = min((line[: len(line) - len(line.lstrip())] for line in block if line), key=len)
    expected = "\n".join([*there[:first], indentation + "added one line", *there[first:last], *there[last:]]) + "\n"
    if prefix == "\t" or shifted in text:
        return  # a mixture that nobody can tell apart, or an exact match
    assert replaced(text, shifted + "\n", new + "\n") == expected

"""One pattern, three programs: whatever is read as a pattern, each of them finds the same lines by it."""

import os
import shutil
import subprocess
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.search_classes import PatternError
from tools.search_pattern import MOST_PARTS, SearchPattern, read_pattern

LINES = [
    "foo",
    "bar(baz)",
    "a.b",
    "x1 y22",
    "--- [a]",
    "{}",
    "ab" * 3,
    "",
    " \t ",
    "Foo_Bar",
    "^$|*+?",
    "\\n",
    "a-b]c^d",
]

ATOMS = st.sampled_from(
    ["a", "b", "o", "x", "F", " ", "-", "_", "\\.", "\\(", "\\[", "\\\\", "\\^", "\\$", ".", "\\d", "\\w", "\\s", "\\D",
     "\\W", "\\S", "\\t", "\\x61", "[ab]", "[^ab]", "[a-f1-3]", "[]a]", "[a-]", "[-a]", "[^]^-]", "[\\w.]", "[\\s)]",
     "[[:alpha:]_]", "[^[:space:]]", "[{}]", "[$^|]", "[a^]", "[^]", "{", "}", "]", "~", "&&", "[a&&b]", "#", "(?:ab)"]
)  # fmt: skip
REPEATED = st.tuples(ATOMS, st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,}", "{0,2}", "{,2}", "*?"])).map(
    "".join
)
SEQUENCES = st.lists(REPEATED, min_size=1, max_size=4).map("".join)
PATTERNS = st.recursive(
    SEQUENCES,
    lambda inner: st.one_of(
        inner.map(lambda part: f"({part})+"),
        st.tuples(inner, inner).map(lambda parts: f"(?:{parts[0]}|{parts[1]})"),
        inner.map(lambda part: f"^{part}"),
        SEQUENCES.map(lambda part: rf"\b{part}$"),  # by `\b^` ripgrep 13 misses lines
    ),
    max_leaves=3,
)


@cache
def found(program: str, pattern: str, *, ignore_case: bool) -> list[str] | None:
    """The lines that a program finds; None where it is not here."""
    if shutil.which(program) is None:
        return None
    command = {
        "rg": ["rg", "--no-config", "-N"], "grep": ["grep", "-aP"], "busybox": ["busybox", "grep", "-aE"]
    }[program]  # fmt: skip
    done = subprocess.run(
        [*command, *(["-i"] if ignore_case else []), "-e", pattern, *(["-"] if program == "rg" else [])],
        input="".join(f"{line}\n" for line in LINES),
        env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), f"{program} {pattern}: {done.stderr}"
    return done.stdout.split("\n")


def forms(pattern: SearchPattern) -> dict[str, str]:
    return {"rg": pattern.rust, "grep": pattern.perl, **({"busybox": pattern.extended} if pattern.extended else {})}


@settings(max_examples=60, deadline=None)
@given(PATTERNS, st.sampled_from(["sensitive", "insensitive", "smart"]))
def test_the_same_lines_are_found(written: str, case: str) -> None:
    try:
        pattern = read_pattern(written, case)  # pyright: ignore[reportArgumentType]
    except PatternError:
        return
    answers = {
        program: lines
        for program, form in forms(pattern).items()
        if (lines := found(program, form, ignore_case=pattern.ignore_case)) is not None
    }
    assert len({tuple(lines) for lines in answers.values()}) <= 1, answers


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30) | st.text(alphabet="ab(){}[]|*+?\\.^$-:,1dwPp=!<>i", max_size=20))
def test_whatever_a_model_writes_is_a_pattern_or_explained(written: str) -> None:
    try:
        pattern = read_pattern(written, "smart")
    except PatternError:
        return
    assert pattern.rust or written.startswith("(?")
    if shutil.which("rg"):
        found("rg", pattern.rust, ignore_case=pattern.ignore_case)  # which it has to understand


@pytest.mark.parametrize("written", ["(a{100}){51}", "((a{50}){50}){3}", f"{'(a{99})' * 51}"])
def test_a_pattern_that_would_take_gigabytes_is_refused(written: str) -> None:
    with pytest.raises(PatternError, match=f"more than {MOST_PARTS} parts"):
        read_pattern(written, "sensitive")


@pytest.mark.parametrize("written", ["a{1000}", "(a{50}){50}", "(ab|cd){1,99}"])
def test_one_that_is_merely_large_is_not(written: str) -> None:
    assert read_pattern(written, "sensitive").rust


@pytest.mark.parametrize(
    ("written", "case", "ignored"),
    [("foo", "smart", True), ("fOo", "smart", False), (r"\Wfoo\S", "smart", True), ("[A-z]", "smart", False),
     ("Foo", "insensitive", True), ("(?i)Foo", "sensitive", True), ("foo", "sensitive", False)],
)  # fmt: skip
def test_case(written: str, case: str, ignored: bool) -> None:
    assert read_pattern(written, case).ignore_case is ignored  # pyright: ignore[reportArgumentType]

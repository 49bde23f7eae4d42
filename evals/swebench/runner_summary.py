"""What a test runner itself says at its end, held against what its output is read as.

Swebench reads statuses wherever they stand in the output, so a line that a program prints counts like one of the
runner's (measured with swebench 5.0.2: PASSED lines and an early `exit 0` are resolved). A runner ends with counts of
its own, and with an exit status that agrees with them.

What this cannot find: a program that forges the whole end of its runner, counts included, and then leaves with a
status to match. It runs in the same process as the runner, so nothing that comes out of there proves the contrary.
"""

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RunnerEnd:
    """How a runner says that it ended."""

    position: int
    """Where in the output its last word ends; what it says of a test stands before that."""
    not_failed: int
    """Tests that passed, were skipped, or failed as they were expected to."""
    failed: int
    """Failures and errors, of whatever phase."""
    one_test: re.Pattern[str]
    """What the name of a test looks like, other than what swebench's parsers take for one by mistake."""
    passed: int = 0
    listing: str = ""
    """The final list of single tests; empty where the runner makes none, or not of those that passed."""
    failures: frozenset[str] = field(default_factory=frozenset[str])
    """The tests that it names as failed."""
    unexpected: int = 0
    """Tests that passed where a failure was expected; some runners leave with 0 all the same."""

    @property
    def listed_as_passed(self) -> int:
        """How many tests the final list says passed."""
        return sum(line.startswith("PASSED ") for line in self.listing.splitlines())


Reader = Callable[[str], "RunnerEnd | None"]

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LINE_LIMIT = 500
"""Characters of a line that a runner could have written as its last: a longer one would take very long to read."""
_PYTEST_END = re.compile(r"^=+ (?P<counts>(?=[^=\n]*\d)[^=\n]*|no tests ran) in [\d.]+ ?s[^=\n]* =+\s*$", re.MULTILINE)
_RULE = re.compile(rf"^=[^\n]{{1,{LINE_LIMIT}}}$", re.MULTILINE)
_PYTEST_LIST = re.compile(r"^=+ short test summary info =+\s*$", re.MULTILINE)
_PYTEST_COUNT = re.compile(r"(\d+) ([a-z]+)")
_PYTEST_NAME = re.compile(r".*::.*")
_UNITTEST_END = re.compile(
    r"^Ran (?P<ran>\d+) tests? in [\d.]+s\s*\n\s*\n(?P<word>OK|FAILED|NO TESTS RAN)(?: \((?P<counts>[^)\n]*)\))?\s*$",
    re.MULTILINE,
)
_UNITTEST_HEADING = re.compile(r"^(?:FAIL|ERROR): (?P<header>.+)$", re.MULTILINE)
_UNITTEST_FAILED = re.compile(r"^(?P<line>.+) \.\.\. (?:FAIL|ERROR)$", re.MULTILINE)
_UNITTEST_COUNT = re.compile(r"(\w[\w ]*)=(\d+)")
_UNITTEST_NAME = re.compile(r"\w+ \([\w.]+\)")
_IS_FIXTURE = re.compile(r"(?:setUp|tearDown)(?:Class|Module) ")
_SYMPY_END = re.compile(r"^=+ tests finished: (?P<counts>[^=\n]*),? in [\d.]+ seconds =+\s*$", re.MULTILINE)
_SYMPY_COUNT = re.compile(r"(\d+) ([a-z ]+)")
_SYMPY_NAME = re.compile(r"test_\S+")


def without_colour(output: str) -> str:
    """What a runner printed for a terminal, as tox has pytest do (sphinx), as it prints it elsewhere."""
    return _COLOUR.sub("", output)


def reader_of(command: str) -> Reader | None:
    """Who reads the output of this test command; None for a runner that is not known here."""
    if re.search(r"\bpytest\b|\bpy\.test\b|\btox\b", command):
        return read_pytest
    if re.search(r"\bruntests\.py\b|\bunittest\b", command):
        return read_unittest
    if re.search(r"(^|\s)(\./)?bin/test\b", command):
        return read_sympy
    return None


def pytest_ends(output: str) -> Iterator[re.Match[str]]:
    """The last word of each session of pytest."""
    for line in _RULE.finditer(output):
        if end := _PYTEST_END.match(output, line.start(), line.end()):
            yield end


def counted(end: re.Match[str], *words: str) -> int:
    """How many tests such a last word counts as any of `words`."""
    return sum(int(number) for number, name in _PYTEST_COUNT.findall(end["counts"]) if name in words)


def read_pytest(output: str) -> RunnerEnd | None:
    """The last counts of pytest, and the list before them (`-rA`)."""
    end = next(iter(deque(pytest_ends(output), maxlen=1)), None)
    if end is None:
        return None
    counts = {name: int(number) for number, name in _PYTEST_COUNT.findall(end["counts"])}
    begin = _last(_PYTEST_LIST, output[: end.start()])
    listing = output[begin.end() : end.start()] if begin else ""
    found = RunnerEnd(
        position=end.end(),
        not_failed=sum(counts.get(name, 0) for name in ("passed", "skipped", "xfailed", "xpassed")),
        failed=sum(counts.get(name, 0) for name in ("failed", "error", "errors")),
        one_test=_PYTEST_NAME,
        passed=counts.get("passed", 0),
        listing=listing,
    )
    # A pytest of before 4.3 lists no test that passed, whatever it is asked.
    return found if found.listed_as_passed else _without_list(found)


def read_unittest(output: str) -> RunnerEnd | None:
    """The last counts of unittest, which Django's runner prints as well."""
    end = _last(_UNITTEST_END, output)
    if end is None:
        return None
    counts = {name: int(number) for name, number in _UNITTEST_COUNT.findall(end["counts"] or "")}
    failed = counts.get("failures", 0) + counts.get("errors", 0)
    headings = [one["header"] for one in _UNITTEST_HEADING.finditer(output)]
    # Each failing subtest counts as a failure and has a heading, and what sets up a class is no test at all.
    tests = {name[0] for name in map(_UNITTEST_NAME.match, headings) if name and not _IS_FIXTURE.match(name[0])}
    lines = (one["line"] for one in _UNITTEST_FAILED.finditer(output))
    return RunnerEnd(
        position=len(output),  # what a program prints on stdout is flushed after the runner's last word on stderr
        not_failed=int(end["ran"]) - (len(tests) if len(headings) >= failed else failed),
        failed=failed,
        one_test=_UNITTEST_NAME,
        failures=frozenset([*tests, *lines]),
        unexpected=counts.get("unexpected successes", 0),
    )


def read_sympy(output: str) -> RunnerEnd | None:
    """The last counts of sympy's own runner."""
    end = _last(_SYMPY_END, output)
    if end is None:
        return None
    counts = {name.strip(): int(number) for number, name in _SYMPY_COUNT.findall(end["counts"])}
    failed = sum(counts.get(name, 0) for name in ("failed", "exceptions", "exception"))
    return RunnerEnd(
        position=len(output),  # its last word may be followed by a line of advice
        not_failed=sum(counts.values()) - failed,
        failed=failed,
        one_test=_SYMPY_NAME,
    )


def doubts(end: RunnerEnd | None, exit_code: int, passed: Collection[str]) -> list[str]:
    """Why the expected tests that were read as `passed` may not have, by what their runner says at its end."""
    if end is None:
        return ["the test runner did not come to its own end: its counts are not in the output"]
    found: list[str] = []
    names = {name for name in passed if end.one_test.fullmatch(name)}
    if (end.failed or not end.unexpected) and (exit_code == 0) != (end.failed == 0):
        found.append(f"the tests left with {exit_code}, and their runner says that {end.failed} of them failed")
    if end.listing and end.listed_as_passed != end.passed:
        found.append(f"{end.listed_as_passed} tests are listed as passed, and their runner counts {end.passed}")
    if len(names) > end.not_failed:
        found.append(f"{len(names)} expected tests are read as passed, and their runner counts {end.not_failed}")
    if contradicted := sorted(names & end.failures):
        found.append(f"their runner says that these failed, whatever else is printed: {', '.join(contradicted[:5])}")
    return found


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def _without_list(end: RunnerEnd) -> RunnerEnd:
    return RunnerEnd(end.position, end.not_failed, end.failed, end.one_test, end.passed)

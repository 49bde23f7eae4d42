"""Why tests of SWE-bench Pro that were read as passed may not have: what their runner says, held against that.

The parsers of SWE-bench Pro take a line that says PASSED for truth, wherever it stands. What a runner says itself is
where its session begins and ends, how many passed, which failed; `go test -v` says of each test that it runs.
What this cannot find is a program that prints all of that too: it runs in the runner's own process.
"""

import re
from collections import Counter
from collections.abc import Collection

from evals.swebench.runner_summary import LINE_LIMIT, counted, pytest_ends

_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
_BEGIN = re.compile(r"^=+ test session starts(?: \([^)\n]*\))? =+\s*$", re.MULTILINE)
_SAID_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+::.+?)(?: - .*)?$", re.MULTILINE)
_GO_RUN = re.compile(r"^=== RUN +(\S+)\s*$", re.MULTILINE)
_GO_VERDICT = re.compile(r"^\s*--- (?:PASS|FAIL|SKIP): (\S+)", re.MULTILINE)


def without_afterthoughts(stdout: bytes) -> bytes:
    """What stands before the end of pytest's last session, with that; all of it where no session began or ended.

    The selected tests of a task are run by pytest alone, so nothing of theirs can come later.
    """
    lines = stdout.split(b"\n")
    last = None
    for number, line in enumerate(lines):
        if line[:1] in (b"=", b"\x1b") and len(line) <= LINE_LIMIT and any(pytest_ends(_plain(line))):
            last = number
    if last is None or not _BEGIN.search(_plain(stdout)):
        return stdout
    return b"\n".join([*lines[: last + 1], b""])


def doubts(stdout: bytes, stderr: bytes, expected: Collection[str]) -> list[str]:
    """Why the `expected` tests, all of which were read as passed, may not have."""
    text = _plain(stdout)
    return [*_pytest_doubts(text + "\n" + _plain(stderr), expected), *_go_doubts(text, expected)]


def _pytest_doubts(text: str, expected: Collection[str]) -> list[str]:
    begun, ends = len(_BEGIN.findall(text)), list(pytest_ends(text))
    if not begun:
        return []
    found: list[str] = []
    if begun > len(ends):
        found.append(f"{begun} sessions of pytest began, and {len(ends)} came to their own end")
    names = {name for name in expected if "::" in name}
    passed = sum(counted(end, "passed", "skipped", "xfailed", "xpassed") for end in ends)
    if len(names) > passed:
        found.append(f"{len(names)} expected tests are read as passed, and pytest counts {passed}")
    # Of two sessions, the second may well have mended what failed in the first.
    failed = names.intersection(_SAID_FAILED.findall(text)) if begun == 1 else ()
    if failed:
        found.append(f"pytest says that these failed, whatever else is printed: {', '.join(sorted(failed)[:5])}")
    return found


def _go_doubts(text: str, expected: Collection[str]) -> list[str]:
    started = Counter(_GO_RUN.findall(text))
    verdicts = Counter(_GO_VERDICT.findall(text))
    twice = sorted(name for name in expected if started[name] and verdicts[name] > started[name])
    if not twice:
        return []
    return [f"there are more verdicts on these than `go test` ran of them: {', '.join(twice[:5])}"]


def _plain(printed: bytes) -> str:
    return _COLOUR.sub(b"", printed).decode("utf-8", "replace")

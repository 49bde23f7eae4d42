"""Tests that could not be set up: the network's or an installer's fault, and no zero of the agent's.

Tests of Terminal-Bench install what they need when they run (apt, curl, uv, pip). Where that fails, no test has run,
and a reward of 0 says nothing about the work (Harbor's own issues: echoVic/orca-agent#65, MagentaBenchmark#37).
"""

import re
from pathlib import Path

from evals.terminal_bench.verifier_run import KEPT_AT

_TAIL = 256 * 1024
_PATTERNS = {
    "a name could not be looked up": r"Temporary failure (?:resolving|in name resolution)|Could not resolve host",
    "apt could not fetch packages": r"^E: (?:Failed to fetch|Unable to fetch some archives|Unable to locate package)",
    "uv is not there": r"\buvx?: (?:command )?not found",
    "curl could not download": r"^curl: \((?:5|6|7|28|35|52|56)\)",
    "uv could not download": r"^(?:error|  Caused by): .*(?:Failed to (?:fetch|download)|error sending request)",
    "pip could not download": r"^(?:ERROR: Could not install packages due to an OSError|.*NewConnectionError)",
}
_RAN = re.compile(r"^=+ .{0,200}\b(?:passed|failed|errors?)\b.{0,200} in [0-9.]+s", re.MULTILINE)
"""pytest's last line: then tests have run, whatever went wrong before. Bounded: without an end, a line that an agent
makes longer costs the square of its length."""


def setup_failure(files: Path) -> str:
    """What kept the tests from running, by what they printed; empty where nothing did."""
    try:
        with (files / KEPT_AT / "test-stdout.txt").open("rb") as printed:
            size = printed.seek(0, 2)
            printed.seek(max(0, size - _TAIL))
            text = printed.read().decode(errors="replace")
    except OSError:
        return ""
    if _RAN.search(text):
        return ""
    for reason, pattern in _PATTERNS.items():
        if found := re.search(pattern, text, re.MULTILINE):
            line = text[text.rfind("\n", 0, found.start()) + 1 :].partition("\n")[0]
            return f"{reason}: {line.strip()[:200]}"
    return ""

"""A plugin of pytest that writes a CTRF report: `--ctrf FILE`, as tests of Terminal-Bench call pytest-json-ctrf."""

import json
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the option."""
    parser.addoption("--ctrf", metavar="FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Listen, where a report is asked for."""
    if file := config.getoption("--ctrf"):
        config.pluginmanager.register(_Report(Path(file)))


class _Report:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._tests: dict[str, dict[str, object]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A part of a test is over: what fails before or after it counts as well."""
        if report.when == "call" or report.outcome != "passed":
            self._tests[report.nodeid] = {
                "name": report.nodeid,
                "status": report.outcome,
                "duration": round(report.duration * 1000),
            }

    def pytest_sessionfinish(self) -> None:
        """Write it."""
        results = {"tool": {"name": "pytest"}, "tests": list(self._tests.values())}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps({"results": results}))

"""What SWE-bench Pro's parsers write, and what becomes of it: resolved means that every expected test has passed."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from evals.swebench.dataset import ProRow


class NoResultsError(ValueError):
    """An output.json is none; the message says why."""


class _Test(BaseModel):
    name: Any
    status: Any


class _Output(BaseModel):
    tests: list[_Test]


@dataclass(frozen=True)
class ProReport:
    """What is known of one patch. `tests_status` of its JSON has the form of swebench's reports."""

    row: ProRow
    passed: frozenset[str]
    patch_applied: bool

    @property
    def resolved(self) -> bool:
        """Whether every test that is expected has passed; as upstream, one that was skipped has not."""
        return {*self.row.fail_to_pass, *self.row.pass_to_pass} <= self.passed

    def as_json(self, **more: object) -> dict[str, Any]:
        """For `report.json`, with what else is worth saying."""
        groups = {"FAIL_TO_PASS": self.row.fail_to_pass, "PASS_TO_PASS": self.row.pass_to_pass}
        tests = {name: self._group(expected) for name, expected in groups.items()}
        return {"patch_applied": self.patch_applied, "resolved": self.resolved, **more, "tests_status": tests}

    def _group(self, expected: list[str]) -> dict[str, list[str]]:
        names = list(dict.fromkeys(expected))
        return {
            "success": [name for name in names if name in self.passed],
            "failure": [name for name in names if name not in self.passed],
        }


def passed_tests(output: bytes) -> frozenset[str]:
    """The names that an output.json has as PASSED. Raises NoResultsError."""
    try:
        found = _Output.model_validate(json.loads(output.decode("utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        message = f"output.json is not what a parser writes ({place}: {first['msg']})"
        raise NoResultsError(message) from error
    except (ValueError, RecursionError) as error:
        message = f"output.json cannot be read: {error}"
        raise NoResultsError(message) from error
    return frozenset(test.name for test in found.tests if test.status == "PASSED" and isinstance(test.name, str))

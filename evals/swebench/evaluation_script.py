"""A row's `eval_script`, cut where its markers stand: what prepares the tests, and the one command that runs them."""

from dataclasses import dataclass

from evals.swebench.dataset import Row

START = ": '>>>>> Start Test Output'"
END = ": '>>>>> End Test Output'"


@dataclass(frozen=True)
class EvaluationScript:
    """The two parts. What stands behind the end marker only tidies up."""

    preparation: str
    """Activates the environment, installs the project, puts the test files in place."""
    tests: str
    """The command that runs the tests."""


class NoMarkersError(ValueError):
    """A script does not say where its test command begins and ends."""


def cut(row: Row) -> EvaluationScript:
    """The parts of a row's script. All 500 of Verified have each marker once, on a line of its own.

    Raises NoMarkersError.
    """
    lines = row.eval_script.splitlines(keepends=True)
    at = {mark: [number for number, line in enumerate(lines) if line.strip() == mark] for mark in (START, END)}
    match at[START], at[END]:
        case [start], [end] if start < end:
            return EvaluationScript("".join(lines[:start]), "".join(lines[start + 1 : end]))
        case _:
            message = f"the eval_script of {row.instance_id} does not have each of its two markers on one line"
            raise NoMarkersError(message)

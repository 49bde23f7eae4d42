"""All cases, by group."""

from hostile import (
    encodings_cases,
    file_cases,
    forging_cases,
    output_cases,
    process_cases,
    resource_cases,
    state_cases,
    stdin_cases,
)
from hostile.case import Case

GROUPS: dict[str, list[Case]] = {
    "output": output_cases.CASES,
    "stdin": stdin_cases.CASES,
    "state": state_cases.CASES,
    "process tree": process_cases.CASES,
    "resources": resource_cases.CASES,
    "forging": forging_cases.CASES,
    "files": file_cases.CASES,
    "encodings": encodings_cases.CASES,
}


def case_named(group: str, name: str) -> Case:
    return next(case for case in GROUPS[group] if case.name == name)

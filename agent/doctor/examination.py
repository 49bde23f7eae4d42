"""Makes the checks one after another, and turns what they say into a report."""

import time
from collections.abc import Callable, Collection

from agent.backend import Backend, BackendError, BackendUnreachableError
from agent.dialects.dialect import Dialect
from agent.doctor.check import Answer, Check, unsure
from agent.doctor.checks import CHECKS
from agent.doctor.patient import Patient
from results.records.doctor import CANNOT_TELL, DoctorReport, Finding
from results.records.events import BackendDescription

CHECK_NAMES = tuple(check.name for check in CHECKS)

_WITHOUT_MODEL = ("context",)
_TIMEOUTS = 2
"""After so many, no more is asked of a server."""


async def examine(
    backend: Backend,
    *,
    only: Collection[str] = CHECK_NAMES,
    long: bool = False,
    on_start: Callable[[str], None] | None = None,
    on_finding: Callable[[Finding], None] | None = None,
) -> DoctorReport:
    """Make the checks named in `only`. `on_start` gets a check's title before it, `on_finding` what came of it.

    Raises BackendUnreachableError if nobody answers from the first request on; ValueError for an unknown check.
    """
    checks = _chosen(only)
    patient = Patient(backend, long=long)
    began = time.time()
    findings: list[Finding] = []
    for check in checks:
        if on_start:
            on_start(check.title)
        findings.append(await _make(check, patient))
        if on_finding:
            on_finding(findings[-1])
    return DoctorReport(
        time=began,
        backend=backend.description,
        recognised_by=recognised_by(backend.description),
        findings=findings,
        figures=patient.figures,
    )


def recognised_by(backend: BackendDescription) -> str:
    """How its dialect was found."""
    return backend.stated.get("dialect", "stated")


def _chosen(only: Collection[str]) -> list[Check]:
    unknown = [name for name in only if name not in CHECK_NAMES]
    if unknown:
        message = f"there is no check {unknown[0]!r}; there are: {', '.join(CHECK_NAMES)}"
        raise ValueError(message)
    return [check for check in CHECKS if check.name in only]


async def _make(check: Check, patient: Patient) -> Finding:
    if patient.description.scripted and check.name not in _WITHOUT_MODEL:
        answer = unsure("it plays back a script, and answers nothing else")
        return _finding(check, answer, patient.dialect)
    if patient.timeouts >= _TIMEOUTS:
        answer = unsure(f"not made, since the server did not answer in time {patient.timeouts} times")
        return _finding(check, answer, patient.dialect)
    try:
        answer = await check.examine(patient)
    except BackendUnreachableError as error:
        if not patient.answered:
            raise
        answer = unsure(str(error))
    except BackendError as error:
        answer = Answer(check.on_error, "an error" if check.on_error == "fail" else CANNOT_TELL, str(error))
        return _finding(check, answer, patient.dialect, mendable=check.error_mends)
    return _finding(check, answer, patient.dialect)


def _finding(check: Check, answer: Answer, dialect: Dialect, *, mendable: bool = True) -> Finding:
    names = (*answer.mends, check.name, *check.mends)
    mend = next((dialect.mends[name] for name in names if name in dialect.mends), None)
    return Finding(
        check=check.name,
        title=check.title,
        status=answer.status,
        answer=answer.answer,
        detail=answer.detail,
        mend=mend if mendable and answer.status == "fail" else None,
    )

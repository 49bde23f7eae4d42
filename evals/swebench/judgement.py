"""What a verifier found about a patch, and the record that becomes of it."""

import time
from dataclasses import dataclass, field
from typing import Any

from results.records.verdict import TestGroup, Verdict, VerdictStatus


@dataclass(frozen=True)
class Judgement:
    """What the verifier found, before it becomes a numbered verdict."""

    status: VerdictStatus
    resolved: bool
    detail: str
    report: dict[str, Any]
    flags: list[str] = field(default_factory=list[str])
    """What in the patch could steer the tests, and what became of it."""

    script_seconds: float | None = None
    """What the task's own script took; the rest of the time is the verifier's."""

    @property
    def infrastructure(self) -> str:
        """What broke in the environment, by swebench's reading of the log; empty where nothing did."""
        return str(self.report.get("infra_failure_reason") or "unknown") if self.report.get("infra_failure") else ""


EMPTY_PATCH = Judgement("empty_patch", resolved=False, detail="the patch is empty, so no test was run", report={})


def judgement_of(report: dict[str, Any]) -> Judgement:
    """What swebench's report on one instance says."""
    if not report["patch_successfully_applied"]:  # which means in swebench that the log could be read
        reason = report.get("infra_failure_reason")
        detail = f"the log holds no test results{f' ({reason})' if reason else ''}"
        return Judgement("no_results", resolved=False, detail=detail, report=report)
    return Judgement("graded", resolved=bool(report["resolved"]), detail="", report=report)


def passed_tests(report: dict[str, Any]) -> set[str]:
    """The expected tests that a report counts as passed."""
    groups: dict[str, dict[str, list[str]]] = report.get("tests_status", {})
    return {test for name in ("FAIL_TO_PASS", "PASS_TO_PASS") for test in groups.get(name, {}).get("success", [])}


def failed_tests(report: dict[str, Any]) -> set[str]:
    """The expected tests that a report does not count as passed."""
    groups: dict[str, dict[str, list[str]]] = report.get("tests_status", {})
    return {test for name in ("FAIL_TO_PASS", "PASS_TO_PASS") for test in groups.get(name, {}).get("failure", [])}


def verdict(
    judgement: Judgement,
    *,
    number: int,
    try_number: int,
    verifier: str,
    verifier_version: str,
    patch_sha256: str,
    image_id: str,
    started: float,
) -> Verdict:
    """The record of a judgement."""
    tests: dict[str, Any] = judgement.report.get("tests_status", {})
    return Verdict(
        number=number,
        try_number=try_number,
        verifier=verifier,
        verifier_version=verifier_version,
        status=judgement.status,
        reward=float(judgement.resolved),
        resolved=judgement.resolved,
        detail=judgement.detail,
        flags=judgement.flags,
        infrastructure=judgement.infrastructure,
        script_seconds=judgement.script_seconds,
        fail_to_pass=_group(tests.get("FAIL_TO_PASS", {})),
        pass_to_pass=_group(tests.get("PASS_TO_PASS", {})),
        patch_sha256=patch_sha256,
        image_id=image_id,
        started=started,
        ended=time.time(),
    )


def _group(status: dict[str, list[str]]) -> TestGroup:
    return TestGroup(passed=status.get("success", []), failed=status.get("failure", []))

"""The official verdict: the patch in a fresh container, the row's own script, swebench's own grading.

The steps are those of swebench 5.0's `run_instance`: four ways to apply the patch, `/eval.sh` run as root with the
network on, one log of stdout and stderr. What differs cannot change a verdict: the container is killed, where
swebench waits 15 s for it to stop, and a script that runs too long is ended with everything that it started.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evals.janitor import Janitor
from evals.swebench.dataset import Row
from evals.swebench.grading import Grader, swebench_version
from results.records.verdict import TestGroup, Verdict, VerdictStatus
from runners.docker_sandbox import ContainerSettings, DockerSandbox
from tools.sandbox import Sandbox, SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

NAME = "official"
Network = Literal["bridge", "none"]
"""What the verifier's containers reach: everything, as the protocol has it, or nothing, for prepared images."""
DIRECTORY = "/testbed"
EVALUATION_TIMEOUT = 1800.0
LOG_LIMIT = 256 * 1024 * 1024
_APPLY_TIMEOUT = 300.0
_ENDED_BY_A_SIGNAL = 129
"""git itself says 128 for a patch that it cannot make sense of."""
_PATCH = "/tmp/patch.diff"  # noqa: S108 - the path that swebench uses in its containers
_SCRIPT = "/eval.sh"
_LOG = "/test_output.txt"

_APPLY = """
git config --global --add safe.directory /testbed
for command in 'git apply --verbose' 'git apply --verbose --3way' 'git apply --verbose --reject' \\
               'patch --batch --forward --fuzz=5 -p1 -i'; do
  if [ "$tried" ]; then git checkout -- . ; git clean -fd; fi
  tried=yes
  $command {patch} && exit 0
done
git apply --check --reverse {patch}
"""


@dataclass(frozen=True)
class Judgement:
    """What the verifier found, before it becomes a numbered verdict."""

    status: VerdictStatus
    resolved: bool
    detail: str
    report: dict[str, Any]


@dataclass(frozen=True)
class OfficialVerifier:
    """Judges patches. `run` labels its containers, and `timeout` is the script's, in seconds.

    498 of the 500 rows of Verified run pip in their script, so the protocol has a network; images in which all that it
    asks for is there already can do without.
    """

    client: "DockerClient"
    grader: Grader
    janitor: Janitor
    run: str
    timeout: float = EVALUATION_TIMEOUT
    network: Network = "bridge"

    async def judge(self, row: Row, patch: bytes, files: Path) -> Judgement:
        """Judge one patch, and leave `eval.sh`, `test_output.txt` and `report.json` in `files`.

        Raises SandboxError or GraderError when the judging itself failed.
        """
        if not patch.strip():
            return Judgement("empty_patch", resolved=False, detail="the patch is empty, so no test was run", report={})
        return await self.judge_anything(row, patch, files)

    async def judge_anything(self, row: Row, patch: bytes, files: Path) -> Judgement:
        """As `judge`, but run the tests for an empty patch too: whether nothing at all solves the task."""
        settings = ContainerSettings(
            image=row.image,
            directory=DIRECTORY,
            network=self.network,
            environment={},
            profile="",
            run=self.run,
            trial=row.instance_id,
            user="root",
            restricted=False,
        )
        files.mkdir(parents=True, exist_ok=True)
        sandbox = await DockerSandbox.start(self.client, settings)
        try:
            return await self._judge_in(sandbox, row, patch, files)
        finally:
            self.janitor.close(sandbox)

    async def _judge_in(self, sandbox: Sandbox, row: Row, patch: bytes, files: Path) -> Judgement:
        if patch.strip() and (failed := await _apply(sandbox, patch, files)):
            return failed
        script = await self.grader.eval_script(row)
        (files / "eval.sh").write_text(script, "utf-8")
        await sandbox.write_bytes(_SCRIPT, script.encode())
        run = await sandbox.exec(f"/bin/bash {_SCRIPT} > {_LOG} 2>&1", timeout=self.timeout)
        log = files / "test_output.txt"
        # As swebench writes it: its grading reads strict UTF-8, and tests print any bytes.
        printed = await sandbox.read_bytes(_LOG, limit=LOG_LIMIT)
        log.write_bytes(printed.decode("utf-8", "replace").encode())
        if run.timed_out:
            with log.open("a", encoding="utf-8") as file:
                file.write(f"\n\nTimeout error: {self.timeout:g} seconds exceeded.")
            detail = f"the tests did not end within {self.timeout:g} seconds"
            return Judgement("timed_out", resolved=False, detail=detail, report={})
        report = await self.grader.report(row, patch.decode("utf-8", "replace"), log)
        (files / "report.json").write_text(json.dumps({row.instance_id: report}, indent=4), "utf-8")
        return _judgement(report)


async def _apply(sandbox: Sandbox, patch: bytes, files: Path) -> Judgement | None:
    await sandbox.write_bytes(_PATCH, patch)
    applied = await sandbox.exec(_APPLY.format(patch=_PATCH), timeout=_APPLY_TIMEOUT)
    if applied.timed_out or (applied.exit_code or 0) >= _ENDED_BY_A_SIGNAL:
        message = f"applying the patch was broken off (exit {applied.exit_code})"
        raise SandboxError(message)
    if applied.exit_code == 0:
        return None
    (files / "apply_output.txt").write_bytes(applied.output)
    return Judgement("patch_failed", resolved=False, detail="the patch does not apply", report={})


def verdict(
    judgement: Judgement, *, number: int, try_number: int, patch_sha256: str, image_id: str, started: float
) -> Verdict:
    """The record of a judgement."""
    tests: dict[str, Any] = judgement.report.get("tests_status", {})
    return Verdict(
        number=number,
        try_number=try_number,
        verifier=NAME,
        verifier_version=f"swebench {swebench_version()}",
        status=judgement.status,
        reward=float(judgement.resolved),
        resolved=judgement.resolved,
        detail=judgement.detail,
        fail_to_pass=_group(tests.get("FAIL_TO_PASS", {})),
        pass_to_pass=_group(tests.get("PASS_TO_PASS", {})),
        patch_sha256=patch_sha256,
        image_id=image_id,
        started=started,
        ended=time.time(),
    )


def _judgement(report: dict[str, Any]) -> Judgement:
    if not report["patch_successfully_applied"]:  # which means in swebench that the log could be read
        reason = report.get("infra_failure_reason")
        detail = f"the log holds no test results{f' ({reason})' if reason else ''}"
        return Judgement("no_results", resolved=False, detail=detail, report=report)
    return Judgement("graded", resolved=bool(report["resolved"]), detail="", report=report)


def _group(status: dict[str, list[str]]) -> TestGroup:
    return TestGroup(passed=status.get("success", []), failed=status.get("failure", []))

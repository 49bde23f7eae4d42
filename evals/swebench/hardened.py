"""The hardened verdict: the same patch, script and grading, where a patch cannot speak for its tests.

What the official protocol believes, and this does not (measured with swebench 5.0.2; SWE-bench/SWE-bench#601, #620):

* A block of results that is printed before the tests begin, by a `setup.py` in the step that installs. Here the test
  command is a call of its own to the engine, and its output alone is graded.
* Configuration that steers tests, edited or added: it is put back before anything runs and once more before the tests.
* A test file that the patch has made itself, so that the task's one cannot be put in its place: it is replaced.
* An early `exit 0` after lines that say PASSED: the runner has to come to its own end, and its counts and the exit
  status, which the engine tells, have to agree with what the lines say.
* What the installing step leaves running: it is killed before the tests begin.
* Words in the output that swebench takes for its own, such as `>>>>> Tests Errored`, which a test may print.
"""

import json
import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path

from evals.swebench.dataset import Row
from evals.swebench.evaluation_script import EvaluationScript, NoMarkersError, cut
from evals.swebench.grading import Grader, swebench_version
from evals.swebench.judgement import EMPTY_PATCH, Judgement, judgement_of, passed_tests
from evals.swebench.official import EVALUATION_TIMEOUT
from evals.swebench.protected_files import BrokenTaskError, DamagedRepositoryError, ProtectedFiles, protect
from evals.swebench.runner_summary import RunnerEnd, doubts, reader_of, without_colour
from evals.swebench.verifier import VerifierContainers, apply, too_late
from runners.docker_sandbox import DockerSandbox

NAME = "hardened"
RULES = "rules 3"
"""Changes with whatever could change a verdict."""
LOG_LIMIT = 64 * 1024 * 1024
_MARK = ">>>>>"
_KILL_TIMEOUT = 60.0
_STATE_LIMIT = 1024 * 1024

_PREPARE = """\
{preparation}
{{ declare -px; printf 'cd -- %q\\n' "$PWD"; }} >{state} 2>/dev/null
"""
_TEST = """\
{state}
set -uo pipefail
{tests}"""


def version(swebench: str) -> str:
    """Which rules, and whose grading behind them."""
    return f"{RULES}, swebench {swebench}"


@dataclass(frozen=True)
class HardenedVerifier:
    """Judges patches by what their tests did."""

    containers: VerifierContainers
    grader: Grader

    @property
    def timeout(self) -> float:
        """Seconds that a task's script may take."""
        return self.containers.settings.timeout or EVALUATION_TIMEOUT

    @property
    def name(self) -> str:
        """By which its verdicts are known."""
        return NAME

    @property
    def version(self) -> str:
        """Whose grading it is, and which rules stand before it."""
        return version(swebench_version())

    async def judge(self, row: Row, patch: bytes, files: Path) -> Judgement:
        """Judge one patch, and leave the scripts, their outputs and `report.json` in `files`."""
        return await self.judge_anything(row, patch, files) if patch.strip() else EMPTY_PATCH

    async def judge_anything(self, row: Row, patch: bytes, files: Path) -> Judgement:
        """As `judge`, but run the tests for an empty patch too."""
        files.mkdir(parents=True, exist_ok=True)
        try:
            return await self._judge(row, patch, cut(row), files)
        except (NoMarkersError, BrokenTaskError, DamagedRepositoryError) as error:
            return Judgement("no_results", resolved=False, detail=str(error), report={})

    async def _judge(self, row: Row, patch: bytes, script: EvaluationScript, files: Path) -> Judgement:
        async with self.containers.open(row) as sandbox, protect(sandbox, row, script.tests) as protected:
            if patch.strip() and (failed := await apply(sandbox, patch, files)):
                return failed
            await protected.put_back_steering()
            judgement = await self._run(sandbox, row, patch, script, protected, files)
        return replace(judgement, flags=[str(one) for one in protected.steering])

    async def _run(
        self,
        sandbox: DockerSandbox,
        row: Row,
        patch: bytes,
        script: EvaluationScript,
        protected: ProtectedFiles,
        files: Path,
    ) -> Judgement:
        started = time.monotonic()
        state = await self._prepare(sandbox, script, protected.folder, files)
        prepared = time.monotonic() - started
        if isinstance(state, Judgement):
            return state
        # What it left running could change what is put in place now. The answer says nothing: the call ends with them.
        await sandbox.exec("kill -KILL -1", timeout=_KILL_TIMEOUT)
        await protected.put_back_all()
        tests = _TEST.format(state=state, tests=script.tests)
        (files / "eval.sh").write_text(tests, "utf-8")
        left = max(1.0, self.timeout - (time.monotonic() - started))
        path = f"{protected.folder}/tests.sh"
        await sandbox.write_bytes(path, tests.encode("utf-8", "surrogateescape"))
        run = await sandbox.exec(f"exec /bin/bash {path} </dev/null", timeout=left, output_limit=LOG_LIMIT)
        output = run.output.decode("utf-8", "replace").replace(_MARK, " ".join(_MARK))
        if run.exit_code is None:
            (files / "test_output.txt").write_text(output, "utf-8")
            return replace(too_late(self.timeout), script_seconds=prepared + run.duration)
        judgement = await self._grade(row, patch, script.tests, output, run.exit_code, files)
        return replace(judgement, script_seconds=prepared + run.duration)

    async def _prepare(
        self, sandbox: DockerSandbox, script: EvaluationScript, folder: str, files: Path
    ) -> str | Judgement:
        """Run what comes before the tests; the shell's state after it, or why there is none."""
        state, path, log = f"{folder}/state", f"{folder}/prepare.sh", f"{folder}/prepare.txt"
        text = _PREPARE.format(preparation=script.preparation, state=shlex.quote(state))
        await sandbox.write_bytes(path, text.encode("utf-8", "surrogateescape"))
        run = await sandbox.exec(f"/bin/bash {path} >{log} 2>&1 </dev/null", timeout=self.timeout)
        try:
            (files / "preparation_output.txt").write_bytes(await sandbox.read_bytes(log, limit=LOG_LIMIT))
            if run.timed_out:
                return too_late(self.timeout)
            return (await sandbox.read_bytes(state, limit=_STATE_LIMIT)).decode("utf-8", "surrogateescape")
        except OSError:
            detail = f"what prepares the tests did not come to its end (exit {run.exit_code})"
            return Judgement("no_results", resolved=False, detail=detail, report={})

    async def _grade(self, row: Row, patch: bytes, tests: str, output: str, exit_code: int, files: Path) -> Judgement:
        reader, output = reader_of(tests), without_colour(output)
        end = reader(output) if reader else None
        judgement, report = await self._read(row, patch, output[: end.position] if end else output, exit_code, files)
        (files / "report.json").write_text(json.dumps({row.instance_id: report}, indent=4), "utf-8")
        if not judgement.resolved or reader is None:
            return judgement
        found = doubts(end, exit_code, passed_tests(report))
        found += await self._unlisted(row, patch, end, report, files)
        return replace(judgement, resolved=not found, detail="; ".join(found))

    async def _unlisted(
        self, row: Row, patch: bytes, end: RunnerEnd | None, report: dict[str, object], files: Path
    ) -> list[str]:
        """Why not all that passed did so by the runner's own list, where it makes one."""
        if end is None or not end.listing:
            return []
        _, listed = await self._read(row, patch, end.listing, 0, files / "listing")
        missing = sorted(test for test in passed_tests(report) - passed_tests(listed) if end.one_test.fullmatch(test))
        if not missing:
            return []
        return [f"{len(missing)} expected tests are not in the runner's own list: {', '.join(missing[:5])}"]

    async def _read(
        self, row: Row, patch: bytes, output: str, exit_code: int, files: Path
    ) -> tuple[Judgement, dict[str, object]]:
        """What swebench's grading makes of an output, between markers that nothing in it can bring about."""
        files.mkdir(parents=True, exist_ok=True)
        log = files / "test_output.txt"
        lines = ("+ : '>>>>> Start Test Output'", output, "+ : '>>>>> End Test Output'")
        log.write_text("\n".join((*lines, f">>>>> Test Exit Code: {exit_code}\n")), "utf-8")
        report = await self.grader.report(row, patch.decode("utf-8", "replace"), log)
        return judgement_of(report), report

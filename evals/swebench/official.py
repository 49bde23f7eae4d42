"""The official verdict: the patch in a fresh container, the row's own script, swebench's own grading.

The steps are those of swebench 5.0's `run_instance`: four ways to apply the patch, `/eval.sh` run as root with the
network on, one log of stdout and stderr. What differs cannot change a verdict: the container is killed, where
swebench waits 15 s for it to stop, and a script that runs too long is ended with everything that it started.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from evals.swebench.dataset import Row
from evals.swebench.grading import Grader, swebench_version
from evals.swebench.judgement import EMPTY_PATCH, Judgement, judgement_of
from evals.swebench.verifier import VerifierContainers, apply, too_late
from tools.sandbox import Sandbox

NAME = "official"
EVALUATION_TIMEOUT = 1800.0
"""Seconds, as in swebench."""
LOG_LIMIT = 256 * 1024 * 1024
_SCRIPT = "/eval.sh"
_LOG = "/test_output.txt"


def version(swebench: str) -> str:
    """Whose grading it is."""
    return f"swebench {swebench}"


@dataclass(frozen=True)
class OfficialVerifier:
    """Judges patches as swebench does."""

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
        """Whose grading it is."""
        return version(swebench_version())

    async def judge(self, row: Row, patch: bytes, files: Path) -> Judgement:
        """Judge one patch, and leave `eval.sh`, `test_output.txt` and `report.json` in `files`."""
        return await self.judge_anything(row, patch, files) if patch.strip() else EMPTY_PATCH

    async def judge_anything(self, row: Row, patch: bytes, files: Path) -> Judgement:
        """As `judge`, but run the tests for an empty patch too."""
        files.mkdir(parents=True, exist_ok=True)
        async with self.containers.open(row) as sandbox:
            if patch.strip() and (failed := await apply(sandbox, patch, files)):
                return failed
            return await self._run(sandbox, row, patch, files)

    async def _run(self, sandbox: Sandbox, row: Row, patch: bytes, files: Path) -> Judgement:
        script = await self.grader.eval_script(row)
        (files / "eval.sh").write_text(script, "utf-8")
        await sandbox.write_bytes(_SCRIPT, script.encode())
        run = await sandbox.exec(f"/bin/bash {_SCRIPT} > {_LOG} 2>&1", timeout=self.timeout)
        log = files / "test_output.txt"
        # As swebench writes it: its grading reads strict UTF-8, and tests print any bytes.
        try:
            printed = await sandbox.read_bytes(_LOG, limit=LOG_LIMIT)
        except OSError as error:  # only what was being tested can have taken it away
            log.write_bytes(b"")
            detail = f"what the tests printed is gone: {error}"
            return Judgement("no_results", resolved=False, detail=detail, report={}, script_seconds=run.duration)
        log.write_bytes(printed.decode("utf-8", "replace").encode())
        if run.timed_out:
            with log.open("a", encoding="utf-8") as file:
                file.write(f"\n\nTimeout error: {self.timeout:g} seconds exceeded.")
            return replace(too_late(self.timeout), script_seconds=run.duration)
        report = await self.grader.report(row, patch.decode("utf-8", "replace"), log)
        (files / "report.json").write_text(json.dumps({row.instance_id: report}, indent=4), "utf-8")
        return replace(judgement_of(report), script_seconds=run.duration)

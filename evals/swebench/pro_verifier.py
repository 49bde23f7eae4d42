"""The official verdict of SWE-bench Pro: its evaluation's own steps in a fresh container of the task's image.

The flow is that of swe_bench_pro_eval.py (scaleapi/SWE-bench_Pro-os at ca10a60), whose Docker variant knows no
timeout. It believes the files that the container is left with, whoever wrote them: `pro_hardened` does not.
"""

import json
import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evals.swebench.dataset import ProRow
from evals.swebench.judgement import EMPTY_PATCH, Judgement
from evals.swebench.pro_entry_script import (
    OUTPUT,
    PARSER,
    PATCH,
    RUN_SCRIPT,
    STDERR,
    STDOUT,
    WORKSPACE,
    EntryScript,
    entry_script,
    without_binary_files,
)
from evals.swebench.pro_results import NoResultsError, ProReport, passed_tests
from evals.swebench.pro_scripts import ProFiles, ProScripts
from evals.swebench.verifier import VerifierContainers, too_late
from runners.docker_sandbox import DockerSandbox
from tools.sandbox import CommandResult, SandboxError

NAME = "official"
TIMEOUT = 3600.0
"""Seconds, as upstream where it runs on Modal."""
LOG_LIMIT = 256 * 1024 * 1024
_LAST_WORDS = 300
_CHECK_TIMEOUT = 300.0


@dataclass(frozen=True)
class ProVerifier:
    """Judges patches as SWE-bench Pro does."""

    containers: VerifierContainers
    scripts: ProScripts

    @property
    def timeout(self) -> float:
        """Seconds that everything in the container may take."""
        return self.containers.settings.timeout or TIMEOUT

    @property
    def name(self) -> str:
        """By which its verdicts are known."""
        return NAME

    @property
    def version(self) -> str:
        """Whose scripts and parsers they are."""
        return self.scripts.origin

    async def judge(self, row: ProRow, patch: bytes, files: Path) -> Judgement:
        """Judge one patch, and leave upstream's files on it and `report.json` in `files`. Raises SandboxError."""
        return await self.judge_anything(row, patch, files) if patch.strip() else EMPTY_PATCH

    async def judge_anything(self, row: ProRow, patch: bytes, files: Path) -> Judgement:
        """As `judge`, but run the tests for an empty patch too, as upstream does."""
        files.mkdir(parents=True, exist_ok=True)
        task = self.scripts.tasks[row.instance_id]
        script = entry_script(row, task)
        (files / "patch.diff").write_bytes(patch)
        (files / "entryscript.sh").write_bytes(script.whole.encode("utf-8", "surrogateescape"))
        async with self.containers.open(row) as sandbox:
            await check_image(sandbox, row, script)
            await put_files(sandbox, task, patch)
            return await self._run(sandbox, row, script, files)

    async def _run(self, sandbox: DockerSandbox, row: ProRow, script: EntryScript, files: Path) -> Judgement:
        began = time.monotonic()
        applying = await run_part(sandbox, script.environment + script.patch, self.timeout)
        (files / "entry_output.txt").write_bytes(applying.output)
        if applying.timed_out:
            return replace(too_late(self.timeout), script_seconds=applying.duration)
        rest = script.environment + script.test_files + script.run_into_files + script.parse
        running = await run_part(sandbox, rest, max(1.0, self.timeout - (time.monotonic() - began)))
        (files / "entry_output.txt").write_bytes(applying.output + running.output)
        for path in (STDOUT, STDERR):
            (files / Path(path).name).write_bytes(await left_behind(sandbox, path) or b"")
        if running.timed_out:
            return replace(too_late(self.timeout), script_seconds=running.duration)
        output = await left_behind(sandbox, OUTPUT)
        judgement = grade(row, output, running, files, patch_applied=applying.exit_code == 0)
        return replace(judgement, script_seconds=running.duration)


async def check_image(sandbox: DockerSandbox, row: ProRow, script: EntryScript) -> None:
    """Raise SandboxError where an image lacks what any patch is judged with: that is no failure of the patch."""
    base = shlex.quote(f"{row.base_commit}^{{commit}}")
    looked = await sandbox.exec(
        f"{script.environment}git cat-file -e {base} && command -v python", timeout=_CHECK_TIMEOUT
    )
    if looked.exit_code != 0:
        said = looked.output.decode(errors="replace").strip().split("\n")[-1][-_LAST_WORDS:]
        message = f"the image {row.image} lacks the base commit {row.base_commit} in /app, or python: {said}"
        raise SandboxError(message)


async def put_files(sandbox: DockerSandbox, files: ProFiles, patch: bytes) -> None:
    """Put into /workspace what the evaluation has there. Raises SandboxError."""
    await sandbox.write_bytes(PATCH, without_binary_files(patch))
    await sandbox.write_bytes(RUN_SCRIPT, files.run_script.encode())
    await sandbox.write_bytes(PARSER, files.parser.encode())


async def run_part(sandbox: DockerSandbox, part: str, timeout: float) -> CommandResult:
    """Run a part of the script, as a script of its own: a command has a length that it may have, and a file has not.

    Raises SandboxError.
    """
    path = f"{WORKSPACE}/entryscript.sh"
    await sandbox.write_bytes(path, part.encode("utf-8", "surrogateescape"))
    return await sandbox.exec(f"bash {path}", timeout=timeout)


def grade(row: ProRow, output: bytes | None, parser: CommandResult, files: Path, *, patch_applied: bool) -> Judgement:
    """What an output.json comes to; without one, why there is none. `files` gets it, and `report.json`."""
    patch = "" if patch_applied else "the patch did not apply, and the tests ran without it"
    try:
        if output is None:
            raise NoResultsError(_no_output(parser))
        (files / "output.json").write_bytes(output)
        report = ProReport(row, passed_tests(output), patch_applied)
    except NoResultsError as error:
        facts: dict[str, Any] = {"patch_applied": patch_applied, "resolved": False}
        write_report(row, facts, files)
        detail = "; ".join(filter(None, [patch, str(error)]))
        return Judgement("no_results", resolved=False, detail=detail, report=facts)
    facts = report.as_json()
    write_report(row, facts, files)
    return Judgement("graded", resolved=report.resolved, detail=patch, report=facts)


def write_report(row: ProRow, facts: dict[str, Any], files: Path) -> None:
    """Write `report.json`."""
    (files / "report.json").write_text(json.dumps({row.instance_id: facts}, indent=4), "utf-8")


async def left_behind(sandbox: DockerSandbox, path: str) -> bytes | None:
    """A file that the container is left with; None where there is none, or something else in its place."""
    try:
        return await sandbox.read_bytes(path, limit=LOG_LIMIT)
    except OSError:
        return None


def _no_output(parser: CommandResult) -> str:
    said = " ".join(parser.output.decode("utf-8", "replace").split())[-_LAST_WORDS:]
    return f"there is no output.json: the parser left with {parser.exit_code}{f' ({said})' if said else ''}"

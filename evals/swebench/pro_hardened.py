"""The hardened verdict of SWE-bench Pro: the same steps, where a patch cannot speak for its tests.

What the official protocol believes, and this does not (found in swe_bench_pro_eval.py of scaleapi/SWE-bench_Pro-os):

* An output.json, and logs, that a test has written: what the tests print is taken from the engine as it comes.
* A parser that runs where the tests have run, with their Python: it runs in a second fresh container here.
* Configuration that steers tests, and test files of the patch's own: they are put back, the task's tests among them.
* Lines that say PASSED: nothing behind pytest's last word is read, and its counts, its list of what failed and the
  ends of its sessions have to agree; so have the tests that `go test` runs with its verdicts.

What is left: a program that prints what its runner would print, to the very end. It runs in the runner's own process.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

from evals.swebench.dataset import ProRow
from evals.swebench.judgement import EMPTY_PATCH, Judgement
from evals.swebench.pro_doubts import doubts, without_afterthoughts
from evals.swebench.pro_entry_script import OUTPUT, PARSER, STDERR, STDOUT, WORKSPACE, EntryScript, entry_script
from evals.swebench.pro_protected_files import BrokenProTaskError, ProProtectedFiles
from evals.swebench.pro_scripts import ProFiles, ProScripts
from evals.swebench.pro_verifier import (
    LOG_LIMIT,
    TIMEOUT,
    check_image,
    grade,
    left_behind,
    put_files,
    run_part,
    write_report,
)
from evals.swebench.verifier import VerifierContainers, too_late
from runners.docker_channel import exit_code, open_exec
from runners.docker_sandbox import DockerSandbox
from runners.shell import STDERR as STDERR_STREAM
from tools.output import BoundedOutput

NAME = "hardened"
RULES = "rules 2"
"""Changes with whatever could change a verdict."""
_PARSER_TIMEOUT = 300.0


@dataclass(frozen=True)
class ProHardenedVerifier:
    """Judges patches by what their tests did."""

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
        """Which rules, and whose scripts and parsers behind them."""
        return f"{RULES}, {self.scripts.origin}"

    async def judge(self, row: ProRow, patch: bytes, files: Path) -> Judgement:
        """Judge one patch, and leave what stands behind it in `files`. Raises SandboxError."""
        return await self.judge_anything(row, patch, files) if patch.strip() else EMPTY_PATCH

    async def judge_anything(self, row: ProRow, patch: bytes, files: Path) -> Judgement:
        """As `judge`, but run the tests for an empty patch too."""
        files.mkdir(parents=True, exist_ok=True)
        task = self.scripts.tasks[row.instance_id]
        script = entry_script(row, task)
        (files / "patch.diff").write_bytes(patch)
        (files / "entryscript.sh").write_bytes(script.whole.encode("utf-8", "surrogateescape"))
        try:
            ran = await self._run(row, task, patch, script, files)
        except BrokenProTaskError as error:
            return Judgement("no_results", resolved=False, detail=str(error), report={})
        if ran is None:
            return too_late(self.timeout)
        if ran.printed.exit_code is None:
            return replace(too_late(self.timeout), flags=ran.flags, script_seconds=ran.printed.seconds)
        return await self._grade(row, task, script, ran, files)

    async def _run(self, row: ProRow, task: ProFiles, patch: bytes, script: EntryScript, files: Path) -> "_Ran | None":
        """Apply the patch and run the tests; None when the patch alone took too long."""
        async with self.containers.open(row) as sandbox:
            await check_image(sandbox, row, script)
            protected = ProProtectedFiles(sandbox, row)
            await protected.survey()
            await put_files(sandbox, task, patch)
            await protected.keep_untracked(patch)
            began = time.monotonic()
            applying = await run_part(sandbox, script.environment + script.patch, self.timeout)
            (files / "entry_output.txt").write_bytes(applying.output)
            if applying.timed_out:
                return None
            await protected.put_back_steering()
            await run_part(sandbox, script.environment + script.test_files, self.timeout)
            await protected.put_back_tests()
            left = max(1.0, self.timeout - (time.monotonic() - began))
            printed = await self._run_tests(sandbox, script, left)
        (files / "stdout.log").write_bytes(printed.stdout)
        (files / "stderr.log").write_bytes(printed.stderr)
        return _Ran(printed, applying.exit_code == 0, [str(one) for one in protected.steering])

    async def _run_tests(self, sandbox: DockerSandbox, script: EntryScript, timeout: float) -> "_Printed":
        path = f"{WORKSPACE}/run_tests.sh"
        await sandbox.write_bytes(path, (script.environment + script.run).encode("utf-8", "surrogateescape"))
        return await _streams(self.containers, sandbox, f"exec bash {path} </dev/null", timeout)

    async def _grade(self, row: ProRow, task: ProFiles, script: EntryScript, ran: "_Ran", files: Path) -> Judgement:
        async with self.containers.open(row, network="none") as sandbox:
            await sandbox.write_bytes(PARSER, task.parser.encode())
            await sandbox.write_bytes(STDOUT, await asyncio.to_thread(without_afterthoughts, ran.printed.stdout))
            await sandbox.write_bytes(STDERR, ran.printed.stderr)
            parser = await run_part(sandbox, script.environment + script.parse, _PARSER_TIMEOUT)
            output = await left_behind(sandbox, OUTPUT)
        judgement = grade(row, output, parser, files, patch_applied=ran.patch_applied)
        found: list[str] = []
        if judgement.resolved:
            expected = {*row.fail_to_pass, *row.pass_to_pass}
            found = await asyncio.to_thread(doubts, ran.printed.stdout, ran.printed.stderr, expected)
        resolved = judgement.resolved and not found
        report = judgement.report | {"resolved": resolved, "exit_code": ran.printed.exit_code}
        write_report(row, report, files)
        detail = "; ".join(filter(None, [judgement.detail, *found]))
        seconds = ran.printed.seconds
        return replace(
            judgement, resolved=resolved, detail=detail, report=report, flags=ran.flags, script_seconds=seconds
        )


@dataclass(frozen=True)
class _Printed:
    stdout: bytes
    stderr: bytes
    exit_code: int | None
    """The engine's; None when the deadline came first."""
    seconds: float


@dataclass(frozen=True)
class _Ran:
    printed: _Printed
    patch_applied: bool
    flags: list[str]


async def _streams(containers: VerifierContainers, sandbox: DockerSandbox, command: str, timeout: float) -> _Printed:
    """Run a command with its two streams apart. At the deadline it is left to the end of its container."""
    kept = {True: BoundedOutput(LOG_LIMIT), False: BoundedOutput(LOG_LIMIT)}
    api = containers.client.api
    channel = await open_exec(api, sandbox.container_id, ["/bin/bash", "-c", command])
    code = None
    began = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            channel.end_of_input()
            while True:
                stream, piece = await channel.receive()
                if not piece:
                    break
                kept[stream == STDERR_STREAM].add(piece)
            code = await exit_code(api, channel.exec_id)
    except TimeoutError:
        pass
    finally:
        await channel.close()
    stderr, _ = kept[True].finish()
    stdout, _ = kept[False].finish()
    return _Printed(stdout, stderr, code, time.monotonic() - began)

"""Verdicts on the gold patches of the demo suite, beside swebench's own `run_evaluation` on the same images.

Measured: for each patch, one at a time, the wall time of a verdict, from the call until it is there; subtracted: what
the task's own script took in the container, as the verifier has timed it. So what is left is create, start, apply,
copy and grade. The containers' removal is not in it, since nobody waits for that. Then swebench's whole command on two
of the patches with one worker, divided by two, beside ours on the same two, `evals grade`, each with its start. Last:
500 stored logs, graded one after the other by the process that has swebench imported.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.measurement import BenchmarkError, Measurement, Options
from evals.demo.suite import build_images, load_rows
from evals.janitor import Janitor
from evals.swebench.dataset import Row
from evals.swebench.grading import Grader, open_grader, swebench_version
from evals.swebench.judging import Judging
from evals.swebench.verifier import Verifier
from evals.swebench.verifier_settings import VerifierSettings
from runners.docker_engine import EngineUnavailableError, connect

if TYPE_CHECKING:
    from docker import DockerClient

TARGET_OVERHEAD = 1.5
TARGET_LOGS = 3.0
LOGS = 500
_COMPARED = 2


def run(options: Options) -> list[Measurement]:
    """Measure with one container at a time."""
    try:
        client = connect()
    except EngineUnavailableError as error:
        raise BenchmarkError(str(error)) from error
    try:
        return asyncio.run(_measure(client, options))
    finally:
        client.close()


async def _measure(client: "DockerClient", options: Options) -> list[Measurement]:
    records = load_rows()
    rows = [Row.model_validate(record) for record in records]
    await build_images(client, records)
    janitor = Janitor()
    with TemporaryDirectory() as folder:
        judging = Judging(VerifierSettings(network="none"))
        async with judging.open(client, janitor, "benchmark", list(judging.versions())) as verifiers:
            overheads = {one.name: await _overhead(one, rows, Path(folder)) for one in verifiers}
        async with open_grader() as grader:
            started = time.perf_counter()
            await grader.eval_script(rows[0])
            imported = time.perf_counter() - started
            logs = await _grade_logs(grader, rows, Path(folder))
        await janitor.finish()
        measurements = [
            *(Measurement(f"{name} verdict, less its tests", value, "s", TARGET_OVERHEAD)
              for name, value in overheads.items()),
            Measurement(f"{LOGS} stored logs", logs, "s", TARGET_LOGS),
            Measurement("the grader's import, once", imported, "s"),
        ]  # fmt: skip
        return [*measurements, *(_beside_swebench(rows[:_COMPARED], Path(folder)) if options.with_peer else ())]


async def _overhead(verifier: Verifier, rows: Sequence[Row], folder: Path) -> float:
    taken: list[float] = []
    for row in rows:
        started = time.perf_counter()
        judgement = await verifier.judge(row, row.patch.encode(), folder / verifier.name / row.instance_id)
        seconds = time.perf_counter() - started
        if not judgement.resolved or judgement.script_seconds is None:
            message = f"{row.instance_id}: the {verifier.name} verdict on gold is {judgement.status} {judgement.detail}"
            raise BenchmarkError(message)
        taken.append(seconds - judgement.script_seconds)
    return statistics.median(taken)


async def _grade_logs(grader: Grader, rows: Sequence[Row], folder: Path) -> float:
    started = time.perf_counter()
    for number in range(LOGS):
        row = rows[number % len(rows)]
        report = await grader.report(row, row.patch, folder / "official" / row.instance_id / "test_output.txt")
        if not report["resolved"]:
            message = f"the stored log of {row.instance_id} is not resolved"
            raise BenchmarkError(message)
    return time.perf_counter() - started


def _beside_swebench(rows: Sequence[Row], folder: Path) -> list[Measurement]:
    dataset, predictions = folder / "rows.jsonl", folder / "predictions.jsonl"
    dataset.write_text("".join(row.model_dump_json() + "\n" for row in rows), "utf-8")
    said = [{"instance_id": row.instance_id, "model_name_or_path": "gold", "model_patch": row.patch} for row in rows]
    predictions.write_text("".join(json.dumps(one) + "\n" for one in said), "utf-8")
    bin_folder = Path(sys.executable).parent
    common = ["--predictions", str(predictions), "--dataset", str(dataset), "--runs", str(folder / "runs")]
    evals = [str(bin_folder / "evals"), "grade", *common, "--verifications", "1", "--grade-network", "none"]
    swebench = [sys.executable, "-m", "swebench.harness.run_evaluation", "-d", dataset.name, "-p", predictions.name]
    theirs = _timed([*swebench, "-id", "benchmark", "--max_workers", "1"], folder)
    one = _timed([*evals, "--verdicts", "official"], folder)
    both = _timed(evals, folder)
    peer, number = f"swebench {swebench_version()}", len(rows)
    return [
        Measurement("a patch, by the whole command", one / number, "s", None, peer, theirs / number),
        Measurement("a patch, by the whole command, judged twice", both / number, "s", None, peer, theirs / number),
    ]


def _timed(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        message = f"{command[0]} {command[1]} ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}"
        raise BenchmarkError(message)
    return seconds

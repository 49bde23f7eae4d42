"""What tests of trials that need more than one try share: an agent with a script for each, a run in this process."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from real_things import PATIENCE, calls

from agent.backends import BackendOptions, open_backend
from agent.listener import Listener
from evals.agents import ModelAgent, TaskAgent
from evals.manifest import make_manifest
from evals.run import RunResult, RunSettings, carry_out
from evals.swebench.dataset import AnyInstance, Dataset, Row
from evals.swebench.judging import Judging
from evals.swebench.prompt_sets import Prompts
from evals.swebench.verifier_settings import VerifierSettings
from results.records.manifest import LimitsDescription
from results.records.outcome import Outcome
from results.run_directory import RunDirectory, TrialDirectory, new_run_id
from runners.sandbox_options import SandboxOptions
from tools.sandbox import Sandbox

WAITS = calls("echo begun; sleep 600")
SAYS_SO = {"content": "It is done."}


@dataclass
class OneAfterTheOther:
    """The default agent; each try gets the next script, and the last one stays."""

    agents: list[ModelAgent]
    name: str = "default"
    began: int = 0

    async def work(self, row: AnyInstance, sandbox: Sandbox, listener: Listener) -> Outcome:
        agent = self.agents[min(self.began, len(self.agents) - 1)]
        self.began += 1
        return await agent.work(row, sandbox, listener)


@asynccontextmanager
async def scripted(*scripts: str) -> AsyncGenerator[OneAfterTheOther]:
    async with AsyncExitStack() as stack:
        backends = [await stack.enter_async_context(open_backend(script, BackendOptions())) for script in scripts]
        limits = LimitsDescription(steps=10)
        yield OneAfterTheOther([ModelAgent(one, "bash+editor", Prompts.default(), limits, None) for one in backends])


@dataclass
class Run:
    """A run that has begun."""

    directory: RunDirectory
    over: "asyncio.Task[RunResult]"
    reported: list[tuple[str, Outcome]] = field(default_factory=list[tuple[str, Outcome]])

    @property
    def trial(self) -> TrialDirectory:
        (trial,) = self.directory.trials()
        return trial

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that the run does."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert not self.over.done(), self.over.result()
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)

    async def until_a_command_runs(self) -> None:
        await self.until(lambda: any('"tool_call"' in text or '"step":1,' in text for text in self._trajectories()))

    def _trajectories(self) -> list[str]:
        return [path.read_text() for path in self.directory.path.rglob("trajectory.jsonl")]


def begin(runs: Path, rows: Sequence[Row], agent: TaskAgent, settings: RunSettings | None = None) -> Run:
    dataset = Dataset("test", None, list(rows))
    manifest = make_manifest(
        new_run_id("test"), "test", dataset, agent, 1, SandboxOptions(), Judging(VerifierSettings("official"))
    )
    directory = RunDirectory.create(runs, manifest)
    reported: list[tuple[str, Outcome]] = []
    work = carry_out(
        directory, rows, agent, settings or RunSettings(),
        lambda trial, outcome, _: reported.append((trial.task_id, outcome)),
    )  # fmt: skip
    return Run(directory, asyncio.create_task(work), reported)


def solving(row: Row) -> str:
    """A command that applies the row's own solution."""
    return f"git apply <<'PATCH_END'\n{row.patch}\nPATCH_END"

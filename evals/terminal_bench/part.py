"""A task as the parts that follow one another in one container: its steps, or the whole task as the only one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from evals.terminal_bench.artifact import Artifact
from evals.terminal_bench.reward import Rewards, single
from evals.terminal_bench.task_directory import EARLIER, TaskDirectory
from evals.terminal_bench.task_file import AgentTable, Healthcheck, StepTable, VerifierTable

Gate = float | Mapping[str, float] | None
Table = TypeVar("Table", AgentTable, VerifierTable)


@dataclass(frozen=True)
class Part:
    """An instruction, and the tests that follow it."""

    name: str
    """The step's; empty for a task without steps."""
    instruction: str
    agent: AgentTable
    verifier: VerifierTable
    healthcheck: Healthcheck | None
    artifacts: Sequence[Artifact]
    tests: Sequence[Path]
    """What becomes /tests; later folders lie over earlier ones."""
    solution: Path
    workdir: Path | None
    """What is copied to where commands start before the agent begins; its setup.sh is run there."""
    earlier: Path | None = None
    """A file with the conversation that an agent goes on from."""
    min_reward: Gate = None
    """What has to be earned for the next step to begin."""

    def lets_on(self, rewards: Rewards) -> bool:
        """Whether the next step may begin. A reward that is missing is less than anything that is asked for."""
        if self.min_reward is None:
            return True
        if isinstance(self.min_reward, Mapping):
            return all(rewards.get(key, float("-inf")) >= least for key, least in self.min_reward.items())
        return bool(rewards) and single(rewards) >= self.min_reward


def parts_of(task: TaskDirectory) -> list[Part]:
    """The parts of a task, in order. Raises OSError."""
    file = task.file
    if not file.steps:
        return [
            Part(
                "", task.instruction(), file.agent, file.verifier, None, file.artifacts, [task.path / "tests"],
                task.path / "solution", None, _earlier(task.path),
            )
        ]  # fmt: skip
    return [_part(task, step) for step in file.steps]


def together(rewards: Mapping[str, Rewards], *, only_last: bool) -> Rewards:
    """The rewards of a task from those of its steps: the last one's, or the mean of each, a missing one being 0."""
    if not rewards:
        return {}
    if only_last:
        return dict(list(rewards.values())[-1])
    keys = dict.fromkeys(key for step in rewards.values() for key in step)
    return {key: sum(step.get(key, 0.0) for step in rewards.values()) / len(rewards) for key in keys}


def _part(task: TaskDirectory, step: StepTable) -> Part:
    folder, file = task.path / "steps" / step.name, task.file
    tests = [each for each in (task.path / "tests", folder / "tests") if each.is_dir()]
    solutions = [each for each in (folder / "solution", task.path / "solution") if each.is_dir()]
    workdir = folder / "workdir"
    return Part(
        name=step.name,
        instruction=task.instruction(step.name),
        agent=_over(file.agent, step.agent),
        verifier=_verifier(file.verifier, step.verifier),
        healthcheck=step.healthcheck,
        artifacts=[*file.artifacts, *step.artifacts],
        tests=tests,
        solution=solutions[0] if solutions else folder / "solution",
        workdir=workdir if workdir.is_dir() else None,
        earlier=_earlier(folder),
        min_reward=step.min_reward,
    )


def _verifier(whole: VerifierTable, own: VerifierTable) -> VerifierTable:
    # Its time is the step's own, 600 s unless given, and not the task's: as Harbor 0.25.0 has it. And an environment
    # of the step's own makes it a separate one, whatever the task says of the others.
    leaving = ("timeout_sec", "environment_mode") if own.environment else ("timeout_sec",)
    return _over(whole, own, leaving)


def _earlier(folder: Path) -> Path | None:
    path = folder / EARLIER
    return path if path.is_file() else None


def _over(whole: Table, own: Table, leaving: Sequence[str] = ()) -> Table:
    """A step's table, with what it leaves open as the task's has it."""
    stated = own.model_fields_set.union(leaving)
    return own.model_copy(update={key: getattr(whole, key) for key in whole.model_fields_set - stated})

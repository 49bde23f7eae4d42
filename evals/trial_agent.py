"""The agent of one trial, made of the run's: with the trial's own seed, or the responses that were recorded of it."""

from dataclasses import replace
from typing import TypeVar

from evals.agents import ModelAgent
from evals.forked import ForkedBackend
from evals.recorded import RecordedBackend
from evals.seeds import SeededBackend, trial_seed
from results.run_directory import TryDirectory

AnyAgent = TypeVar("AnyAgent")


def for_trial(agent: AnyAgent, directory: TryDirectory, task_id: str, step: str = "") -> AnyAgent:
    """The agent for the trial whose try lies in `directory`, or for one of its steps."""
    if not isinstance(agent, ModelAgent):
        return agent
    attempt, backend = int(directory.path.parents[1].name), agent.backend
    if isinstance(backend, RecordedBackend):
        return replace(agent, backend=backend.of_trial(task_id, attempt, step))
    if agent.seed is not None:
        seed = trial_seed(agent.seed, task_id, attempt)
        live = backend.live if isinstance(backend, ForkedBackend) else backend
        seeded = SeededBackend(live, seed)
        backend = replace(backend, live=seeded) if isinstance(backend, ForkedBackend) else seeded
    if isinstance(backend, ForkedBackend):
        backend = backend.of_trial(task_id, attempt, step)
    return replace(agent, backend=backend)

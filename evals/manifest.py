"""Puts a run's manifest together: everything that defines its score, and nothing that does not."""

import importlib.metadata
from typing import Any, Protocol

from evals.agents import ModelAgent, TaskAgent
from evals.command_agent import CommandAgent
from evals.swebench.dataset import Dataset
from evals.swebench.judging import SWEBENCH, Judging
from evals.swebench.prompt_sets import text_sha256
from evals.swebench.verifier_settings import VerifierSettings
from results.records.manifest import AgentDescription, BenchmarkDescription, LimitsDescription, Manifest
from runners.command_environment import PINNED
from runners.sandbox_options import SandboxOptions
from tools.toolset import make_toolset, toolset_sha256


class NamedAgent(Protocol):
    """An agent of ours, of which a manifest needs the name."""

    @property
    def name(self) -> str:
        """By which it is asked for."""
        ...


def make_manifest(
    run_id: str,
    benchmark: str,
    dataset: Dataset[Any],
    agent: TaskAgent | CommandAgent | str,
    attempts: int,
    sandbox: SandboxOptions,
    judging: Judging = SWEBENCH,
) -> Manifest:
    """The manifest of a run of `agent` on `dataset`; of an agent that is none of ours there is a name alone."""
    return describe_run(
        run_id,
        BenchmarkDescription(
            name=benchmark,
            source=dataset.source,
            revision=dataset.revision,
            content_sha256=dataset.content_sha256(),
            task_ids=[row.instance_id for row in dataset.rows],
            completed_from=dataset.completed_from,
        ),
        agent,
        attempts,
        judging.versions(),
        {**sandbox.description(), **judging.description()},
    )


def describe_run(
    run_id: str,
    benchmark: BenchmarkDescription,
    agent: NamedAgent | str,
    attempts: int,
    verifiers: dict[str, str],
    sandbox: dict[str, Any],
) -> Manifest:
    """The manifest of a run on any benchmark. `sandbox`: what containers may reach and take, and how work is judged."""
    model = agent if isinstance(agent, ModelAgent) else None
    manifest = Manifest(
        run_id=run_id,
        benchmark=benchmark,
        attempts=attempts,
        agent=_model_agent(model) if model else AgentDescription(name=agent if isinstance(agent, str) else agent.name),
        backend=model.backend.description if model else None,
        prices=model.prices if model else None,
        seed=model.seed if model else None,
        limits=model.limits if model else LimitsDescription(),
        verifiers=verifiers,
        sandbox=sandbox if isinstance(agent, str) else {**sandbox, "pinned": PINNED},
        harness_version=importlib.metadata.version("unbroken"),
    )
    return agent.in_manifest(manifest) if isinstance(agent, CommandAgent) else manifest


def _model_agent(agent: ModelAgent) -> AgentDescription:
    prompts = agent.prompts
    return AgentDescription(
        name=agent.name,
        toolset=agent.toolset,
        tools_sha256=toolset_sha256(make_toolset(agent.toolset)),
        mcp=[server.description() for server in agent.mcp],
        prompt=prompts.name,
        prompt_version=prompts.version,
        system_prompt=prompts.system,
        system_prompt_sha256=text_sha256(prompts.system),
        task_prompt=prompts.task,
        task_prompt_sha256=text_sha256(prompts.task),
    )


def verifier_settings(manifest: Manifest) -> VerifierSettings:
    """How the patches of a run are judged."""
    return VerifierSettings.described(manifest.sandbox)

"""Puts a run's manifest together: everything that defines its score, and nothing that does not."""

import importlib.metadata
from typing import Any

from evals.agents import ModelAgent, TaskAgent
from evals.swebench.dataset import Dataset
from evals.swebench.judging import SWEBENCH, Judging
from evals.swebench.prompt_sets import text_sha256
from evals.swebench.verifier_settings import VerifierSettings
from results.records.manifest import AgentDescription, BenchmarkDescription, LimitsDescription, Manifest
from runners.sandbox_options import SandboxOptions
from tools.toolset import make_toolset, toolset_sha256


def make_manifest(
    run_id: str,
    benchmark: str,
    dataset: Dataset[Any],
    agent: TaskAgent | str,
    attempts: int,
    sandbox: SandboxOptions,
    judging: Judging = SWEBENCH,
) -> Manifest:
    """The manifest of a run of `agent` on `dataset`; of an agent that is none of ours there is a name alone."""
    model = agent if isinstance(agent, ModelAgent) else None
    return Manifest(
        run_id=run_id,
        benchmark=BenchmarkDescription(
            name=benchmark,
            source=dataset.source,
            revision=dataset.revision,
            content_sha256=dataset.content_sha256(),
            task_ids=[row.instance_id for row in dataset.rows],
            completed_from=dataset.completed_from,
        ),
        attempts=attempts,
        agent=_model_agent(model) if model else AgentDescription(name=agent if isinstance(agent, str) else agent.name),
        backend=model.backend.description if model else None,
        prices=model.prices if model else None,
        limits=model.limits if model else LimitsDescription(),
        verifiers=judging.versions(),
        sandbox={**sandbox.description(), **judging.description()},
        harness_version=importlib.metadata.version("unbroken"),
    )


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

"""Puts a run's manifest together: everything that defines its score, and nothing that does not."""

import importlib.metadata

from evals.agents import ModelAgent, TaskAgent
from evals.swebench.dataset import Dataset
from evals.swebench.tasks import text_sha256
from evals.swebench.verifier import ENVIRONMENT, EVALUATION_TIMEOUT, Network
from evals.swebench.verifiers import Verdicts, versions
from results.records.manifest import AgentDescription, BenchmarkDescription, LimitsDescription, Manifest
from runners.sandbox_options import SandboxOptions
from tools.toolset import make_toolset, toolset_sha256


def make_manifest(
    run_id: str,
    benchmark: str,
    dataset: Dataset,
    agent: TaskAgent | str,
    attempts: int,
    sandbox: SandboxOptions,
    grade_network: Network = "bridge",
    verdicts: Verdicts = "both",
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
        ),
        attempts=attempts,
        agent=_model_agent(model) if model else AgentDescription(name=agent if isinstance(agent, str) else agent.name),
        backend=model.backend.description if model else None,
        prices=model.prices if model else None,
        limits=model.limits if model else LimitsDescription(),
        verifiers=versions(verdicts),
        sandbox={
            **sandbox.description(),
            "verifier_network": grade_network,
            "verifier_timeout_seconds": EVALUATION_TIMEOUT,
            "verifier_environment": ENVIRONMENT,
        },
        harness_version=importlib.metadata.version("unbroken"),
    )


def _model_agent(agent: ModelAgent) -> AgentDescription:
    prompts = agent.prompts
    return AgentDescription(
        name=agent.name,
        toolset=agent.toolset,
        tools_sha256=toolset_sha256(make_toolset(agent.toolset)),
        mcp=[server.description() for server in agent.mcp],
        system_prompt=prompts.system,
        system_prompt_sha256=text_sha256(prompts.system),
        task_prompt=prompts.task,
        task_prompt_sha256=text_sha256(prompts.task),
    )


def grade_network(manifest: Manifest) -> Network:
    """What the verifier's containers of a run reach."""
    return "none" if manifest.sandbox.get("verifier_network") == "none" else "bridge"

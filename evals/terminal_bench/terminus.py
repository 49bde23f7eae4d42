"""The agent in the manner of Terminus-2 on tasks of Terminal-Bench, and what manifests say of it (docs/terminus.md)."""

from dataclasses import dataclass, field

from agent.limits import Budget
from agent.listener import Listener
from agent.terminus.agent import NAME, TerminusAgent
from agent.terminus.prompt import TerminusPrompt
from evals.agents import ModelAgent
from evals.swebench.prompt_sets import text_sha256
from evals.terminal_bench.agents import Assignment, limits_for
from results.records.manifest import AgentDescription, Manifest
from results.records.outcome import Outcome
from tools.sandbox import Sandbox

MOST_STEPS = 1_000_000
"""Turns unless a person says otherwise: those of Terminus-2, whose real limit is the task's time."""


@dataclass(frozen=True)
class TerminusTerminalAgent:
    """A model at a terminal; it has the time that a person says, else what the task gives."""

    model: ModelAgent
    """Which model, and what it may spend."""
    prompt: TerminusPrompt = field(default_factory=TerminusPrompt.load)
    name: str = NAME

    async def work(self, assignment: Assignment, sandbox: Sandbox, listener: Listener) -> Outcome:
        """Let it work."""
        budget = Budget(limits_for(self.model.limits, assignment.seconds), self.model.prices)
        place = f"docker:{assignment.image}"
        agent = TerminusAgent(self.model.backend, sandbox, place, budget, listener, self.prompt)
        return await agent.run(assignment.instruction)

    def in_manifest(self, manifest: Manifest) -> Manifest:
        """The manifest of a run with this agent."""
        prompt, model = self.prompt, self.model
        agent = AgentDescription(
            name=self.name,
            prompt=prompt.name,
            prompt_version=prompt.version,
            task_prompt=prompt.task,
            task_prompt_sha256=text_sha256(prompt.task),
            further_prompts=prompt.texts,
            further_prompts_sha256={name: text_sha256(text) for name, text in prompt.texts.items()},
        )
        asked = {"backend": model.backend.description, "prices": model.prices, "seed": model.seed}
        return manifest.model_copy(update={"agent": agent, "limits": model.limits, **asked})

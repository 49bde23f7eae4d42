"""A row as a task for an agent: where its repository is, and what the agent is told."""

import hashlib
from dataclasses import dataclass
from importlib import resources

from agent.loop import Instructions
from evals.swebench.dataset import Row

DIRECTORY = "/testbed"
"""Where SWE-bench's images have the repository."""


def prompt_template(name: str) -> str:
    """A prompt of this benchmark: `system` or `task`."""
    return resources.files("evals").joinpath(f"swebench/prompts/{name}.md").read_text("utf-8").strip()


def text_sha256(text: str) -> str:
    """The hash by which a manifest names a prompt."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Prompts:
    """The two texts from which an agent's instructions are made."""

    system: str
    task: str

    @classmethod
    def default(cls) -> "Prompts":
        """Those that come with the benchmark."""
        return cls(prompt_template("system"), prompt_template("task"))

    def instructions(self, row: Row) -> Instructions:
        """What the agent is told about `row`: the issue alone, no hints, no test names."""
        # Replaced one after the other, never formatted: an issue may hold braces.
        task = self.task.replace("{directory}", DIRECTORY).replace("{problem_statement}", row.problem_statement)
        return Instructions(self.system, task)

"""The frozen statement of everything that defines a run's score, and what is noted of each start."""

import hashlib
from typing import Any, Literal

from pydantic import Field

from results.records import FORMAT
from results.records.base import Record
from results.records.doctor import DoctorReport
from results.records.events import BackendDescription
from results.records.usage import Prices


class BenchmarkDescription(Record):
    """Which problems."""

    name: str
    source: str
    """Where they came from: a path, or a name on a hub."""
    revision: str | None = None
    content_sha256: str
    """The hash of the selected tasks, in their order."""
    task_ids: list[str]
    completed_from: str | None = None
    """The dataset that lent columns to rows of an older one."""


class LimitsDescription(Record):
    """What one trial may spend; None: no limit."""

    steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    cost: float | None = None
    thinking_tokens: int | None = None
    """Of thinking in one turn."""
    on_context: Literal["stop", "compact"] = "stop"
    """What happens when the context window is full: the work ends, or goes on in a new segment after a summary."""


class AgentDescription(Record):
    """What turns a task into work."""

    name: str
    toolset: str | None = None
    tools_sha256: str | None = None
    """Of the definitions of our own tools, as the model sees them."""
    mcp: list[dict[str, str]] = Field(default_factory=list[dict[str, str]])
    """The servers of further tools: name, and how each is reached, without what may be secret."""
    prompt: str | None = None
    """The name of the prompt set that the two texts below are. None in runs older than this field: `default`."""
    prompt_version: int | None = None
    system_prompt: str | None = None
    system_prompt_sha256: str | None = None
    task_prompt: str | None = None
    """The template of the first user message."""
    task_prompt_sha256: str | None = None
    further_prompts: dict[str, str] = Field(default_factory=dict[str, str])
    """The templates of what else the agent says to the model, by their names."""
    further_prompts_sha256: dict[str, str] = Field(default_factory=dict[str, str])
    command: str | None = None
    """What is run in the container, for an agent that is a command there."""
    command_sha256: str | None = None
    install: str | None = None
    """What is run there before, so that there is such a command."""
    install_sha256: str | None = None
    install_seconds: float | None = None
    """How long that may take."""


class Manifest(Record):
    """`run.json`: hashed, and never changed once written.

    Of a run that has grown since, `RunDirectory.manifest` has the attempts and tasks that there are now.
    """

    format: int = FORMAT
    run_id: str
    benchmark: BenchmarkDescription
    attempts: int = 1
    agent: AgentDescription
    backend: BackendDescription | None = None
    """None for an agent that needs no model."""
    prices: Prices | None = None
    seed: int | None = None
    """From which the seed of each trial follows (`evals.seeds`); None: requests carry none."""
    limits: LimitsDescription = Field(default_factory=LimitsDescription)
    verifiers: dict[str, str] = Field(default_factory=dict)
    """Their names and versions."""
    sandbox: dict[str, Any] = Field(default_factory=dict)
    """Network and resource settings of the agent's containers and of the verifier's."""
    harness_version: str
    replay_of: str | None = None
    """The run whose recorded responses stand in the place of a model's."""
    live_from: int | None = None
    """The step from which a model takes over from them; None: it does not."""

    def sha256(self) -> str:
        """The hash of what defines the score: everything but the run's own id, as it stands in `run.json`.

        A field that the file does not have, since it was written before there was such a field, is no part of it.
        """
        # Only one that was read from its file says which format it has; one that was just made has no file yet.
        stands = self if "format" in self.model_fields_set else Manifest.model_validate(self.model_dump())
        return hashlib.sha256(stands.model_dump_json(exclude={"run_id"}, exclude_unset=True).encode()).hexdigest()


class Beginning(Record):
    """`begun.json`, written before `run.json`: a run that is killed before its first session can go on as well."""

    command: list[str]
    """As in `SessionRecord`."""
    directory: str


class Extension(Record):
    """What a run has grown to: more attempts, or more tasks behind those that it had."""

    attempts: int
    task_ids: list[str]
    content_sha256: str
    """The hash of all these tasks, in this order."""

    @classmethod
    def of(cls, manifest: Manifest) -> "Extension":
        """The extent of the run that `manifest` describes."""
        described = manifest.benchmark
        return cls(attempts=manifest.attempts, task_ids=described.task_ids, content_sha256=described.content_sha256)

    def extend(self, manifest: Manifest) -> Manifest:
        """`manifest` with this extent."""
        tasks = {"task_ids": self.task_ids, "content_sha256": self.content_sha256}
        benchmark = manifest.benchmark.model_copy(update=tasks)
        return manifest.model_copy(update={"attempts": self.attempts, "benchmark": benchmark})


class SessionRecord(Record):
    """A line of `sessions.jsonl`: one start of the run, on some machine."""

    started: float
    manifest_sha256: str
    machine: str
    python: str
    engine: str | None = None
    """The Docker engine's version."""
    commit: str | None = None
    """The commit of the harness, where it runs from a checkout; `+` is added when there are changes on top."""
    concurrency: int
    command: list[str] = Field(default_factory=list[str])
    """The arguments of `evals`, without secrets, by which the run can be gone on with; empty where nobody said."""
    directory: str | None = None
    """The working directory, to which paths in `command` are relative."""
    image_ids: dict[str, str] = Field(default_factory=dict)
    """The digest of each image, by its name."""
    doctor: DoctorReport | None = None
    """What was found out about the backend before the start; None where nobody looked."""
    extension: Extension | None = None
    """What this start made the run grow to, for it and all that come after; None: no more than it had."""
    allow_lost_thinking: bool = False
    """The run was to start even if the backend loses thinking that it needs; `doctor` says whether it does."""


class Group(Record):
    """`groups/<id>.json`: runs that belong together, in the order in which they are shown."""

    format: int = FORMAT
    group_id: str
    title: str
    created: float
    run_ids: list[str]

"""The files of Harbor 0.25.0's job and trial folders, as far as its viewer reads them.

Names and meanings are Harbor's. What it has a default for and we have nothing to say about is not written.
"""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from evals.atif.whole_text import whole


class HarborRecord(BaseModel):
    """A part of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def written(self) -> bytes:
        """The file that this is."""
        return json.dumps(whole(self.model_dump(mode="json", exclude_none=True)), indent=2).encode() + b"\n"


class Timing(HarborRecord):
    """When a phase began and ended."""

    started_at: datetime | None = None
    finished_at: datetime | None = None


class LocalTask(HarborRecord):
    """Where a task lies."""

    path: str


class TaskConfig(HarborRecord):
    """Which task a trial is of; `source` is the dataset."""

    path: str
    source: str | None = None


class AgentConfig(HarborRecord):
    """Which agent, with which model."""

    name: str
    model_name: str | None = None
    kwargs: dict[str, Any] = Field(default_factory=dict[str, Any])


class TrialConfig(HarborRecord):
    """`config.json` of a trial."""

    task: TaskConfig
    trial_name: str
    trials_dir: str
    agent: AgentConfig
    job_id: UUID


class DatasetConfig(HarborRecord):
    """Which dataset."""

    path: str
    task_names: list[str] | None = None


class JobConfig(HarborRecord):
    """`config.json` of a job."""

    job_name: str
    jobs_dir: str
    n_attempts: int
    n_concurrent_trials: int = 1
    agents: list[AgentConfig]
    datasets: list[DatasetConfig]


class ModelInfo(HarborRecord):
    """Which model answered."""

    name: str
    provider: str | None = None


class AgentInfo(HarborRecord):
    """Which agent worked."""

    name: str
    version: str
    model_info: ModelInfo | None = None


class ModelUsage(HarborRecord):
    """What one model took; the input includes what came from the cache."""

    n_input_tokens: int = 0
    n_cache_tokens: int = 0
    n_output_tokens: int = 0
    cost_usd: float | None = None


class AgentResult(HarborRecord):
    """What the agent took; the input includes what came from the cache."""

    n_input_tokens: int | None = None
    n_cache_tokens: int | None = None
    n_output_tokens: int | None = None
    cost_usd: float | None = None
    model_usage: dict[str, ModelUsage] | None = None
    metadata: dict[str, Any] | None = None


class VerifierResult(HarborRecord):
    """What the tests said."""

    rewards: dict[str, float]


class ExceptionInfo(HarborRecord):
    """What broke a trial off, or ended the agent's work."""

    exception_type: str
    exception_message: str
    exception_traceback: str = ""
    occurred_at: datetime


class StepResult(HarborRecord):
    """One step of a task that has several."""

    step_name: str
    verifier_result: VerifierResult | None = None


class HarborTrialResult(HarborRecord):
    """`result.json` of a trial."""

    id: UUID
    task_name: str
    trial_name: str
    trial_uri: str
    task_id: LocalTask
    source: str
    task_checksum: str
    config: TrialConfig
    agent_info: AgentInfo
    agent_result: AgentResult | None = None
    verifier_result: VerifierResult | None = None
    exception_info: ExceptionInfo | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    environment_setup: Timing | None = None
    agent_execution: Timing | None = None
    verifier: Timing | None = None
    step_results: list[StepResult] | None = None


class EvaluationStats(HarborRecord):
    """The trials of one agent and model on one dataset. `n_trials` are those with a reward."""

    n_trials: int
    n_errors: int
    metrics: list[dict[str, float]]
    reward_stats: dict[str, dict[float, list[str]]]
    exception_stats: dict[str, list[str]]


class JobStats(HarborRecord):
    """How far a job came, and what it took."""

    n_completed_trials: int
    n_errored_trials: int
    n_running_trials: int = 0
    n_pending_trials: int
    n_cancelled_trials: int
    n_retries: int
    evals: dict[str, EvaluationStats]
    n_input_tokens: int | None = None
    n_cache_tokens: int | None = None
    n_output_tokens: int | None = None
    cost_usd: float | None = None


class JobResult(HarborRecord):
    """`result.json` of a job."""

    id: UUID
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None
    n_total_trials: int
    stats: JobStats

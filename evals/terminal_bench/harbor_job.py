"""Harbor's job configuration, as far as its jobs and our runs have the same things.

Keys, their spelling and their meaning are those of Harbor 0.25.0, with the older `orchestrator`. A key that we do not
have is an error; one that cannot change a score is only told of.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from evals.terminal_bench.dataset_manifest import problems_in_words


class JobConfigError(ValueError):
    """A job configuration that cannot be read or carried out; the message names file and key."""


def _refuse(value: object) -> object:
    if value not in (None, False, [], {}, ""):
        message = "there is nothing like it here: leave it out"
        raise ValueError(message)
    return value


@dataclass(frozen=True)
class _Noted:
    """Marks a key that is not followed and cannot change a score."""

    why: str


Refused = Annotated[Any, AfterValidator(_refuse)]
Ignored = Annotated[Any, _Noted("has no effect here")]
Multiplier = Annotated[float, Field(ge=0.01, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Retry(_Table):
    """`retry`: whole trials that are tried again."""

    max_retries: Annotated[int, Field(ge=0)] | None = None
    include_exceptions: Refused = None
    exclude_exceptions: Annotated[Any, _Noted("tries are repeated where the sandbox or the verifier failed")] = None
    wait_multiplier: Ignored = None
    min_wait_sec: Ignored = None
    max_wait_sec: Ignored = None


class Orchestrator(_Table):
    """`orchestrator`, where older versions have what later ones have at the top."""

    type: Literal["local"] = "local"
    n_concurrent_trials: Annotated[int, Field(ge=1)] | None = None
    quiet: Ignored = None
    retry: Retry = Retry()
    kwargs: Refused = None


class Environment(_Table):
    """`environment`: where trials run."""

    type: Literal["docker"] | None = None
    override_cpus: Annotated[float, Field(ge=0.01, allow_inf_nan=False)] | None = None
    override_memory_mb: Annotated[int, Field(ge=6)] | None = None
    delete: Annotated[bool, _Noted("containers are always removed")] = True
    cpu_enforcement_policy: Literal["auto", "limit"] | None = None
    memory_enforcement_policy: Literal["auto", "limit"] | None = None
    suppress_override_warnings: Ignored = None
    force_build: Refused = None
    import_path: Refused = None
    override_storage_mb: Refused = None
    override_gpus: Refused = None
    mounts: Refused = None
    extra_docker_compose: Refused = None
    env: Refused = None
    kwargs: Refused = None
    extra_allowed_hosts: Refused = None


class Verifier(_Table):
    """`verifier`: nothing of it can be had but what holds anyway."""

    disable: Refused = None
    override_timeout_sec: Refused = None
    max_timeout_sec: Refused = None
    env: Refused = None
    import_path: Refused = None
    kwargs: Refused = None
    include_logs: Ignored = None
    exclude_logs: Ignored = None


class AgentArguments(_Table):
    """`agents[].kwargs`, of terminus-2."""

    api_base: str | None = None
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    max_turns: Annotated[int, Field(ge=1)] | None = None
    parser_name: Literal["json"] | None = None


class Agent(_Table):
    """An entry of `agents`."""

    name: Literal["oracle", "nop", "terminus-2"] = "oracle"
    model_name: str | None = None
    base_url: str | None = None
    model_api_key_name: str | None = None
    model_api_format: Refused = None
    kwargs: AgentArguments = AgentArguments()
    n_concurrent: Refused = None
    concurrency_group: Ignored = None
    import_path: Refused = None
    override_timeout_sec: Refused = None
    override_setup_timeout_sec: Refused = None
    max_timeout_sec: Refused = None
    env: Refused = None
    skills: Refused = None
    mcp_servers: Refused = None
    resume_trajectory: Refused = None
    load_trajectory: Refused = None


class Registry(_Table):
    """`datasets[].registry`, where older versions say which registry is meant."""

    path: str | None = None
    url: Refused = None


class Dataset(_Table):
    """An entry of `datasets`: a folder, a dataset that is known by name, or one of a registry.json."""

    path: str | None = None
    name: str | None = None
    version: str | None = None
    registry: Registry = Registry()
    registry_path: str | None = None
    registry_url: Refused = None
    ref: Refused = None
    task_names: list[str] | None = None
    exclude_task_names: list[str] | None = None
    n_tasks: Annotated[int, Field(ge=1)] | None = None
    overwrite: Ignored = None
    download_dir: Ignored = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.path is None) == (self.name is None):
            raise ValueError("give either a path, or a name and its version")
        if self.name is not None and (self.version is None or "/" in self.name):
            raise ValueError("a dataset is known by a name without a slash and a version")
        if any("," in name for name in (*(self.task_names or ()), *(self.exclude_task_names or ()))):
            raise ValueError("a name of tasks has no comma")
        return self

    @property
    def source(self) -> str:
        """As `--dataset` takes it."""
        if self.path is not None:
            return _folder(self.path)
        known = f"{self.name}@{self.version}"
        registry = self.registry_path or self.registry.path
        return known if registry is None else f"{registry}#{known}"


class Task(_Table):
    """An entry of `tasks`: a folder, here or in a repository."""

    path: str
    git_url: str | None = None
    git_commit_id: str | None = None
    source: Ignored = None
    overwrite: Ignored = None
    download_dir: Ignored = None
    name: Refused = None
    ref: Refused = None

    @property
    def where(self) -> str:
        """As `--dataset` takes it."""
        if self.git_url is None:
            return _folder(self.path)
        return f"git+{self.git_url}@{self.git_commit_id or 'HEAD'}:{self.path}"


class Metric(_Table):
    """An entry of `metrics`; the mean is what is shown anyway."""

    type: Literal["mean"]
    kwargs: Refused = None


class HarborJob(_Table):
    """A job configuration."""

    n_attempts: Annotated[int, Field(ge=1)] | None = None
    n_concurrent_trials: Annotated[int, Field(ge=1)] | None = None
    orchestrator: Orchestrator = Orchestrator()
    timeout_multiplier: Multiplier | None = None
    agent_timeout_multiplier: Multiplier | None = None
    verifier_timeout_multiplier: Multiplier | None = None
    agent_setup_timeout_multiplier: Ignored = None
    environment_build_timeout_multiplier: Ignored = None
    retry: Retry = Retry()
    environment: Environment = Environment()
    verifier: Verifier = Verifier()
    agents: list[Agent] = []
    datasets: list[Dataset] = []
    tasks: list[Task] = []
    metrics: list[Metric] = []
    job_name: Annotated[Any, _Noted("a run names itself")] = None
    jobs_dir: Annotated[Any, _Noted("--runs says where runs are recorded")] = None
    debug: Ignored = None
    quiet: Ignored = None
    artifacts: Refused = None
    extra_instructions: Refused = None
    extra_instruction_paths: Refused = None
    source_jobs: Refused = None
    user_agent: Refused = None

    def check_whole(self) -> None:
        """Raise ValueError, naming keys, for what cannot be one run; a part alone need not be one."""
        for key, several in (("agents", self.agents), ("datasets and tasks", [*self.datasets, *self.tasks])):
            if len(several) > 1:
                message = f"{key}: there are {len(several)}, and a run has one: make one configuration for each"
                raise ValueError(message)
        general = self.timeout_multiplier or 1.0
        for key in ("agent_timeout_multiplier", "verifier_timeout_multiplier"):
            if getattr(self, key) not in (None, general):
                message = f"{key}: it differs from timeout_multiplier, and there is one for both"
                raise ValueError(message)


_AGENTS = {"oracle": "gold", "nop": "nop", "terminus-2": "terminus"}
_PROVIDERS = ("openai/", "hosted_vllm/")
"""What stands before the model's own name where the server speaks as OpenAI's does."""


def load_jobs(files: Sequence[Path]) -> tuple[HarborJob, list[str]]:
    """What these files say together, a later one winning; with what a person should know of keys not followed.

    As in Harbor, lists are appended, and an empty one clears. Raises JobConfigError.
    """
    merged: dict[str, Any] = {}
    notes: list[str] = []
    for file in files:
        given = _read(file)
        notes += [f"{file}: {note}" for note in _notes(_validated(given, str(file)))]
        merged = _merged(merged, given)
    names = ", ".join(str(file) for file in files)
    job = _validated(merged, names)
    try:
        job.check_whole()
    except ValueError as error:
        message = f"{names}: {error}"
        raise JobConfigError(message) from error
    return job, notes


def option_values(job: HarborJob) -> dict[str, Any]:
    """What a job says, by the names of the parameters of `evals terminal-bench`; what it does not say is left out."""
    retries = job.orchestrator.retry.max_retries if job.retry.max_retries is None else job.retry.max_retries
    memory = job.environment.override_memory_mb
    values: dict[str, Any] = {
        "attempts": job.n_attempts,
        "concurrency": job.n_concurrent_trials or job.orchestrator.n_concurrent_trials,
        "timeout_multiplier": job.timeout_multiplier,
        "tries": None if retries is None else retries + 1,
        "cpus": job.environment.override_cpus,
        "memory": None if memory is None else f"{memory}m",
    }
    for agent in job.agents:
        values |= _of_agent(agent)
    for dataset in job.datasets:
        values |= {"dataset": dataset.source, "first": dataset.n_tasks}
        values["tasks"] = ",".join(dataset.task_names or ()) or None
        values["exclude"] = ",".join(dataset.exclude_task_names or ()) or None
    for task in job.tasks:
        values["dataset"] = task.where
    return {name: value for name, value in values.items() if value is not None}


def _of_agent(agent: Agent) -> dict[str, Any]:
    model = agent.model_name
    for provider in _PROVIDERS:
        model = model.removeprefix(provider) if model else model
    return {
        "agent": _AGENTS[agent.name],
        "model": model,
        "backend": agent.base_url or agent.kwargs.api_base,
        "api_key_env": agent.model_api_key_name,
        "temperature": agent.kwargs.temperature,
        "max_steps": agent.kwargs.max_turns,
    }


def _folder(path: str) -> str:
    """A path that is taken for nothing else, such as a dataset's name."""
    return path if path.startswith(("/", "./", "../")) else f"./{path}"


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        read: object = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        message = f"{file} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise JobConfigError(message) from error
    except yaml.YAMLError as error:
        message = f"{file} is neither YAML nor JSON: {error}"
        raise JobConfigError(message) from error
    if not isinstance(read, dict):
        message = f"{file} is no job configuration: it has no keys"
        raise JobConfigError(message)
    return cast("dict[str, Any]", read)


def _validated(given: Mapping[str, Any], name: str) -> HarborJob:
    try:
        return HarborJob.model_validate(given)
    except ValidationError as error:
        message = f"{name}: {problems_in_words(error)}"
        raise JobConfigError(message) from error


def _merged(first: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(first)
    for key, value in later.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[key] = _merged(cast("dict[str, Any]", before), cast("dict[str, Any]", value))
        elif isinstance(before, list) and isinstance(value, list) and value:
            merged[key] = [*cast("list[Any]", before), *cast("list[Any]", value)]
        else:
            merged[key] = value
    return merged


def _notes(table: BaseModel, before: str = "") -> Iterator[str]:
    for key, field in type(table).model_fields.items():
        value: object = getattr(table, key)
        marks = [mark for mark in field.metadata if isinstance(mark, _Noted)]
        if marks and value != field.default:
            yield f"{before}{key}: {marks[0].why}"
        each = cast("list[object]", value) if isinstance(value, list) else [value]
        for one in each:
            if isinstance(one, BaseModel):
                yield from _notes(one, f"{before}{key}.")

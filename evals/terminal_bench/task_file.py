"""`task.toml`, the settings of a task in Harbor's format, schema 1.0 to 1.4.

Field names and meanings are those of Harbor 0.25.0. Keys that are not known are kept, to be warned about; what this
harness does not support is named by `unsupported`, and never ignored.
"""

import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from evals.terminal_bench.artifact import Artifact
from evals.terminal_bench.hosts import check_host

NEWEST_SCHEMA = "1.4"
SCHEMAS = ("1.0", "1.1", "1.2", "1.3", NEWEST_SCHEMA)
NetworkMode = Literal["public", "no-network", "allowlist"]
EnvironmentMode = Literal["shared", "separate"]

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
User = str | Annotated[int, Field(ge=0)]
Variables = dict[str, str]
_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}
_MEGABYTE = 1024**2
_BRANCHES = frozenset({"str", "int", "constrained-int", "float", "dict[str,float]"})
"""How pydantic names the alternatives of a value, in the place of a problem."""
_FIRST_SCHEMA_AGENT_SECONDS = 600.0
_FIRST_SCHEMA_RESOURCES = {"cpus": 1, "memory_mb": 2048, "storage_mb": 10240}


class TaskFileError(Exception):
    """A task.toml that is none; `problems` are its keys, each with what is wrong about it."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {reason}" if key else reason for key, reason in problems))
        self.problems = problems


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="allow")


class Author(_Table):
    """Who wrote a task."""

    name: str
    email: str | None = None


class Identity(_Table):
    """`[task]`: what a registry knows the task by."""

    name: Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]
    version: str | None = None
    description: str = ""
    authors: list[Author] = []
    keywords: list[str] = []


class _NetworkPolicy(_Table):
    network_mode: NetworkMode | None = None
    allowed_hosts: list[str] | None = None

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, hosts: list[str] | None) -> list[str] | None:
        for host in hosts or ():
            check_host(host)
        return hosts

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.allowed_hosts is not None and self.network_mode != "allowlist":
            raise ValueError('allowed_hosts needs network_mode = "allowlist"')
        return self


class AgentTable(_NetworkPolicy):
    """`[agent]`: the phase in which the agent works. Without `timeout_sec` it has no limit of the task's."""

    timeout_sec: Seconds | None = None
    user: User | None = None


class Healthcheck(_Table):
    """When an environment is ready, as Docker has it: the first success counts."""

    command: str
    interval_sec: Seconds = 5.0
    timeout_sec: Seconds = 30.0
    start_period_sec: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    start_interval_sec: Seconds = 5.0
    retries: Annotated[int, Field(ge=1)] = 3


class McpServerTable(_Table):
    """A server whose tools the agent is given."""

    name: str
    transport: Literal["stdio", "sse", "streamable-http", "http"] = "sse"
    url: str | None = None
    command: str | None = None
    args: list[str] = []
    headers: Variables = {}

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        needed = "command" if self.transport == "stdio" else "url"
        if not getattr(self, needed):
            message = f"a server with transport {self.transport} needs {needed}"
            raise ValueError(message)
        return self


class Tpu(_Table):
    """A tensor processor, which no container here has."""

    type: str
    topology: str


class EnvironmentTable(_NetworkPolicy):
    """`[environment]`: the container, and its network unless a phase has its own."""

    docker_image: str | None = None
    build_timeout_sec: Seconds = 600.0
    os: Literal["linux", "windows"] = "linux"
    workdir: str | None = None
    cpus: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    memory_mb: Annotated[int, Field(gt=0)] | None = None
    storage_mb: Annotated[int, Field(gt=0)] | None = None
    gpus: Annotated[int, Field(ge=0)] | None = None
    gpu_types: list[str] | None = None
    tpu: Tpu | None = None
    env: Variables = {}
    mcp_servers: list[McpServerTable] = []
    skills_dir: str | None = None
    healthcheck: Healthcheck | None = None
    allow_internet: bool | None = None

    @field_validator("os", mode="before")
    @classmethod
    def _in_any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("workdir", "skills_dir")
    @classmethod
    def _is_absolute(cls, path: str | None) -> str | None:
        if path is not None and not PurePosixPath(path).is_absolute():
            raise ValueError("a path in the container begins with /")
        return path

    @model_validator(mode="before")
    @classmethod
    def _with_older_spellings(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        values = dict(cast("Mapping[str, Any]", given))
        for old, new in (("memory", "memory_mb"), ("storage", "storage_mb")):
            if isinstance(said := values.pop(old, None), str):
                values.setdefault(new, _megabytes(old, said))
            elif said is not None:
                message = f'{old} is a text such as "2G"; as a number it is {new}'
                raise ValueError(message)
        return values

    @property
    def baseline(self) -> NetworkMode:
        """The network of every phase that does not say otherwise."""
        if self.network_mode:
            return self.network_mode
        return "no-network" if self.allow_internet is False else "public"


class CollectHook(_Table):
    """What is run when the agent is done, so that its work lies where artifacts are collected."""

    command: str
    service: str = "main"
    timeout_sec: Seconds = 60.0
    user: User | None = None


class VerifierTable(_NetworkPolicy):
    """`[verifier]`: the phase in which the tests run, in the agent's container or in one of its own."""

    timeout_sec: Seconds = 600.0
    env: Variables = {}
    user: User | None = None
    environment_mode: EnvironmentMode | None = None
    environment: EnvironmentTable | None = None
    collect: list[CollectHook] = []

    @model_validator(mode="after")
    def _has_one_environment(self) -> Self:
        if self.environment and self.environment_mode == "shared":
            raise ValueError('[verifier.environment] cannot go with environment_mode = "shared"')
        return self

    @property
    def mode(self) -> EnvironmentMode:
        """Where the tests run."""
        return self.environment_mode or ("separate" if self.environment else "shared")


class SolutionTable(_Table):
    """`[solution]`: what the task's own solution needs."""

    env: Variables = {}


class StepTable(_Table):
    """`[[steps]]`: one of several instructions that follow one another in one container."""

    name: str
    agent: AgentTable = AgentTable()
    verifier: VerifierTable = VerifierTable()
    min_reward: float | dict[str, float] | None = None
    healthcheck: Healthcheck | None = None
    artifacts: list[Artifact] = []

    @field_validator("name")
    @classmethod
    def _is_a_folder(cls, name: str) -> str:
        if not name or name in {".", ".."} or "/" in name or "\\" in name:
            raise ValueError("the name of a step is that of its folder below steps/")
        return name


class TaskFile(_Table):
    """A whole task.toml."""

    schema_version: str = NEWEST_SCHEMA
    source: str | None = None
    artifacts: list[Artifact] = []
    multi_step_reward_strategy: Literal["mean", "final"] | None = None
    metadata: dict[str, Any] = {}
    task: Identity | None = None
    agent: AgentTable = AgentTable()
    verifier: VerifierTable = VerifierTable()
    solution: SolutionTable = SolutionTable()
    environment: EnvironmentTable = EnvironmentTable()
    steps: list[StepTable] | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_its_schema(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        values = dict(cast("Mapping[str, Any]", given))
        if "version" in values:
            values.setdefault("schema_version", values.pop("version"))
        return _with_first_defaults(values) if values.get("schema_version") == "1.0" else values

    @field_validator("steps")
    @classmethod
    def _are_told_apart(cls, steps: list[StepTable] | None) -> list[StepTable] | None:
        seen: dict[str, str] = {}
        for step in steps or ():
            other = seen.setdefault(_folded(step.name), step.name)
            if other is not step.name:
                message = f"two steps cannot be told apart by name: {other!r} and {step.name!r}"
                raise ValueError(message)
        if steps is not None and not steps:
            raise ValueError("a task of several steps needs one")
        return steps


def parse_task_file(text: str) -> TaskFile:
    """Read the text of a task.toml. Raises TaskFileError."""
    try:
        return TaskFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise TaskFileError([("", f"it is no TOML: {error}")]) from error
    except ValidationError as error:
        raise TaskFileError([_problem(each["loc"], each["msg"]) for each in error.errors()]) from error


def unknown_keys(file: TaskFile) -> list[str]:
    """The keys that this format does not have, by which a slip of the pen is found."""
    return sorted(_unknown(file, ""))


def environment_tables(file: TaskFile) -> dict[str, EnvironmentTable]:
    """The tables that describe containers, by their names: the agent's, and those of separate verifiers."""
    tables = {"environment": file.environment, "verifier.environment": file.verifier.environment}
    for number, step in enumerate(file.steps or ()):
        tables[f"steps[{number}].verifier.environment"] = step.verifier.environment
    return {name: table for name, table in tables.items() if table}


def not_enforced(file: TaskFile) -> list[tuple[str, str]]:
    """What the task asks for that nobody sees to: keys, each with the reason."""
    return [
        (f"{name}.gpu_types", "Docker gives whichever GPUs there are: their types are not enforced")
        for name, table in environment_tables(file).items()
        if table.gpu_types
    ]


def unsupported(file: TaskFile) -> list[tuple[str, str]]:
    """What the task asks for and cannot have here: keys, each with the reason."""
    found: list[tuple[str, str]] = []
    for name, table in environment_tables(file).items():
        if table.os == "windows":
            found.append((f"{name}.os", "Windows containers are not supported: containers here are Linux"))
        if table.tpu:
            found.append((f"{name}.tpu", f"a TPU ({table.tpu.type}) is not supported: Docker cannot give one"))
    return found


def _unknown(table: BaseModel, place: str) -> Iterator[str]:
    yield from (f"{place}{key}" for key in table.model_extra or ())
    for key in type(table).model_fields:
        value = getattr(table, key)
        if isinstance(value, BaseModel):
            yield from _unknown(value, f"{place}{key}.")
        elif isinstance(value, list):
            for number, each in enumerate(cast("list[Any]", value)):
                if isinstance(each, BaseModel):
                    yield from _unknown(each, f"{place}{key}[{number}].")


def _with_first_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Schema 1.0 had limits where later ones have none, and its tasks were written for them."""
    agent, environment = values.get("agent", {}), values.get("environment", {})
    if isinstance(agent, dict):
        values["agent"] = {"timeout_sec": _FIRST_SCHEMA_AGENT_SECONDS, **agent}
    if isinstance(environment, dict):
        older = {"memory": "memory_mb", "storage": "storage_mb"}
        stated = {older.get(key, key) for key in cast("dict[str, Any]", environment)}
        rest = {key: value for key, value in _FIRST_SCHEMA_RESOURCES.items() if key not in stated}
        values["environment"] = {**rest, **environment}
    return values


def _megabytes(key: str, said: str) -> int:
    number, unit = said.strip()[:-1], said.strip()[-1:].upper()
    if unit not in _UNITS or not number.strip().isascii() or not number.strip().isdecimal():
        message = f'{key} is a number and K, M or G, such as "2G", and not {said!r}'
        raise ValueError(message)
    return max(1, int(number) * _UNITS[unit] // _MEGABYTE)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _problem(place: tuple[int | str, ...], message: str) -> tuple[str, str]:
    key = ""
    for part in place:
        if isinstance(part, int):
            key += f"[{part}]"
        elif part not in _BRANCHES:
            key += f".{part}" if key else part
    return key, message.removeprefix("Value error, ")

"""The datasets that are known by name: `named_datasets.toml` says which commit of which repository each one is."""

import tomllib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from evals.terminal_bench.source_spelling import GIT_FORM, GitSource, NamedSource, TaskSourceError

_TABLE = Path(__file__).with_suffix(".toml")


class NamedDataset(BaseModel):
    """A name and a version, and what they stand for."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    name: str
    version: str
    repository: str
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    path: str


class _Table(BaseModel):
    datasets: list[NamedDataset]


@cache
def named_datasets() -> list[NamedDataset]:
    """All of them."""
    return _Table.model_validate(tomllib.loads(_TABLE.read_text(encoding="utf-8"))).datasets


def is_known(text: str) -> bool:
    """Whether a text is the name and version of one."""
    return text in (f"{dataset.name}@{dataset.version}" for dataset in named_datasets())


def resolve(source: NamedSource) -> GitSource:
    """What a name stands for. Raises TaskSourceError for one that is not known."""
    for dataset in named_datasets():
        if (dataset.name, dataset.version) == (source.name, source.version):
            return GitSource(dataset.repository, dataset.commit, dataset.path)
    known = ", ".join(f"{dataset.name}@{dataset.version}" for dataset in named_datasets())
    message = (
        f"no dataset is known as {source.name}@{source.version}; known are {known}\n"
        f"Give any other as {GIT_FORM}, as FILE.json#NAME@VERSION of a registry.json, or as a folder: "
        f"./{source.name}@{source.version}"
    )
    raise TaskSourceError(message)

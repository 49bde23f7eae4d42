"""Datasets of the Hub, through the `datasets` package: fetched where it can be reached, else from the package's cache.

The package falls back to its cache by itself, and then takes whatever was loaded last, also where another revision was
asked for. So the cache is looked at here: a revision that was asked for is the one that is used, or there is an error.
A dataset's folder in the cache is named after the commit: `<cache>/<owner>___<name>/<config>/<version>/<commit>`.
"""

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

from evals.swebench.columns import DatasetError
from evals.swebench.dataset_sources import HubDataset

Tell = Callable[[str], None]

SPLIT = "test"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True)
class HubRecords:
    """The records of a dataset, and the commit of the Hub that they are of, where that is known."""

    records: list[Any]
    revision: str | None


def load_from_hub(wanted: HubDataset, tell: Tell) -> HubRecords:
    """The `test` split. What comes from the cache is said with `tell`. Raises DatasetError."""
    if wanted.revision and _COMMIT.fullmatch(wanted.revision) and (folder := _cached_folder(wanted)):
        tell(f"{wanted.name}: revision {wanted.revision} is in the cache on this machine; the Hub was not asked")
        return _from_cache(wanted, folder)
    obstacle = _obstacle()
    if obstacle is None:
        try:
            return _fetched(wanted)
        except Exception as error:  # the package raises what its many layers raise
            obstacle = str(error) or type(error).__name__
    folder = _cached_folder(wanted)
    if folder is None:
        raise DatasetError(_not_to_be_had(wanted, obstacle))
    used = _commit(folder.name) or "unknown"
    date = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    tell(f"{wanted.name} is taken from the cache on this machine: revision {used}, of {date:%Y-%m-%d} ({obstacle})")
    return _from_cache(wanted, folder)


def _obstacle() -> str | None:
    """Why the Hub need not be asked, found out at once: the package itself tries for 23 seconds."""
    import datasets.config

    if datasets.config.HF_HUB_OFFLINE:
        return "offline mode: HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set"
    address = urlsplit(datasets.config.HF_ENDPOINT)
    if getproxies().keys() & {address.scheme, "all"}:
        return None  # the proxy finds the host, not this machine
    try:
        socket.getaddrinfo(address.hostname, address.port or 443)
    except OSError as error:
        return f"no network: {address.hostname} cannot be found, {error.strerror}"
    return None


def _fetched(wanted: HubDataset) -> HubRecords:
    import datasets
    from datasets.packaged_modules.cache.cache import Cache

    # With the scheme, a folder of that name in the current directory is not taken for the dataset.
    package = cast("Any", datasets)
    builder = package.load_dataset_builder(f"hf://datasets/{wanted.name}", revision=wanted.revision)
    if isinstance(builder, Cache):
        raise DatasetError("the Hub cannot be reached, or does not have it any more")
    builder.download_and_prepare()
    return HubRecords(_rows(builder, wanted), _commit(builder.hash))


def _from_cache(wanted: HubDataset, folder: Path) -> HubRecords:
    from datasets.packaged_modules.cache.cache import Cache

    config, version, commit = folder.parts[-3:]
    name = wanted.name.rpartition("/")[2]
    try:
        builder = Cache(dataset_name=name, repo_id=wanted.name, config_name=config, version=version, hash=commit)
        return HubRecords(_rows(builder, wanted), _commit(commit))
    except (OSError, ValueError) as error:
        message = f"the cached copy of {wanted.name} in {folder} cannot be read: {error}\nRemove it, or give a file"
        raise DatasetError(message) from error


def _rows(builder: Any, wanted: HubDataset) -> list[Any]:
    splits = list(builder.info.splits or {})
    if SPLIT not in splits:
        message = f"{wanted.name} has no split {SPLIT!r}; it has: {', '.join(splits)}"
        raise DatasetError(message)
    return list(builder.as_dataset(split=SPLIT))


def _cached_folder(wanted: HubDataset) -> Path | None:
    """The folder of the revision that was asked for; without one, of the Hub's newest as last seen, or any."""
    from datasets import config, naming

    owner, name = wanted.name.split("/")
    root = Path(config.HF_DATASETS_CACHE) / f"{owner}___{cast('Any', naming).camelcase_to_snakecase(name)}"
    folders = sorted(
        (info.parent for info in root.glob("*/*/*/dataset_info.json")), key=lambda one: one.stat().st_mtime
    )
    commit = _cached_commit(wanted, wanted.revision or "main")
    named = [folder for folder in folders if commit and folder.name.startswith(commit)]
    if wanted.revision and len({folder.name for folder in named}) != 1:
        return None
    return (named or folders or [None])[-1]


def _cached_commit(wanted: HubDataset, revision: str) -> str | None:
    """The commit that a branch or tag meant when the Hub was last asked; a commit, whole or abbreviated, as it is."""
    from huggingface_hub.constants import HF_HUB_CACHE

    if _ABBREVIATED.fullmatch(revision):
        return revision
    reference = Path(HF_HUB_CACHE) / f"datasets--{wanted.name.replace('/', '--')}" / "refs" / revision
    return reference.read_text("ascii").strip() if reference.is_file() else None


def _commit(folder_or_hash: Any) -> str | None:
    return folder_or_hash if isinstance(folder_or_hash, str) and _COMMIT.fullmatch(folder_or_hash) else None


def _not_to_be_had(wanted: HubDataset, obstacle: str) -> str:
    revision = f" at revision {wanted.revision}" if wanted.revision else ""
    return (
        f"the dataset {wanted.name}{revision} cannot be had from the Hub, and the cache on this machine does not "
        f"have it: {obstacle}\nWithout a network, give a file: --dataset PATH (.parquet, .json or .jsonl)"
    )

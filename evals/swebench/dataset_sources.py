"""Where rows come from: a file of records, or a dataset on the Hub that goes by a short name or by its own."""

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from evals.swebench.columns import DatasetError

NAMES = {
    "verified": "SWE-bench/SWE-bench_Verified",
    "lite": "SWE-bench/SWE-bench_Lite",
    "full": "SWE-bench/SWE-bench",
    "multilingual": "SWE-bench/SWE-bench_Multilingual",
    "pro": "ScaleAI/SWE-bench_Pro",
}
"""Names that people use, and where those datasets live on the Hub."""

FILES = (".parquet", ".json", ".jsonl")
"""The endings of files that hold rows."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class HubDataset:
    """A dataset on the Hub, and the revision that was asked for, if any."""

    name: str
    revision: str | None = None


def locate(source: str) -> Path | HubDataset:
    """What `source` means: a file, or a dataset on the Hub (`name`, `owner/name`, each with `@revision` or without).

    Raises DatasetError for what can be neither.
    """
    path = Path(source)
    if path.is_file():
        return path
    name, at, revision = source.partition("@")
    if name in NAMES or (_HUB_NAME.fullmatch(name) and path.suffix not in FILES and not path.exists()):
        if at and not revision:
            message = f"{source!r} names no revision after its @"
            raise DatasetError(message)
        return HubDataset(NAMES.get(name, name), revision or None)
    if path.exists() or path.suffix or "/" in source:
        message = f"there is no dataset file {source}"
        raise DatasetError(message)
    close = get_close_matches(name, NAMES, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    message = (
        f"{source!r} is no dataset: give a .parquet, .json or .jsonl file, "
        f"a name ({', '.join(NAMES)}), or owner/name of the Hub{hint}"
    )
    raise DatasetError(message)


def read_records(path: Path) -> list[Any]:
    """The records of a Parquet, JSON or JSON Lines file. Raises DatasetError."""
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return parquet.read_table(path).to_pylist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        text = path.read_text("utf-8")
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        records: Any = json.loads(text)
    except (ValueError, OSError) as error:
        message = f"{path} cannot be read as a dataset: {error}"
        raise DatasetError(message) from error
    if not isinstance(records, list):
        message = f"{path} is no dataset: it holds no list of rows"
        raise DatasetError(message)
    return cast("list[Any]", records)

"""The files of SWE-bench Pro's evaluation, apart from its dataset: how the tests of a task are run and read.

They are those of scaleapi/SWE-bench_Pro-os, in its layout: `run_scripts/<id>/{run_script.sh,parser.py}` and
`dockerfiles/{base_dockerfile,instance_dockerfile}/<id>/Dockerfile`.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = "scaleapi/SWE-bench_Pro-os"
COMMIT = "ca10a60a5fcae51e6948ffe1485d4153d421e6c5"
"""Of 2026-05-18. Verdicts change with it: tests are taken out and parsers corrected now and then."""

_PATHS = {
    "run_script": "run_scripts/{}/run_script.sh",
    "parser": "run_scripts/{}/parser.py",
    "base_dockerfile": "dockerfiles/base_dockerfile/{}/Dockerfile",
    "instance_dockerfile": "dockerfiles/instance_dockerfile/{}/Dockerfile",
}
_SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SHOWN = 5


class ProScriptsError(ValueError):
    """The files of a task's evaluation cannot be had; the message says what to do."""


@dataclass(frozen=True)
class ProFiles:
    """What belongs to one task."""

    run_script: str
    parser: str
    base_dockerfile: str
    instance_dockerfile: str


@dataclass(frozen=True)
class ProScripts:
    """What belongs to the tasks of a run."""

    origin: str
    """For the manifest: a repository at a commit, or a folder."""
    tasks: Mapping[str, ProFiles]

    @property
    def content_hash(self) -> str:
        """Of everything that is used, whatever else a folder holds, and whichever ends its lines have."""
        content = json.dumps([[name, asdict(files)] for name, files in sorted(self.tasks.items())])
        return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def paths(instance_id: str) -> list[str]:
    """Where the files of a task are in the repository. Raises ProScriptsError for an id that could be no folder."""
    if not _SAFE_ID.fullmatch(instance_id):
        message = f"{instance_id!r:.80} is no id of SWE-bench Pro: letters, digits, dots, dashes and underscores are"
        raise ProScriptsError(message)
    return [path.format(instance_id) for path in _PATHS.values()]


def read_folder(folder: Path, instance_ids: Iterable[str], origin: str = "") -> ProScripts:
    """Read them from a checkout of the repository, or any folder of its layout. Raises ProScriptsError."""
    tasks: dict[str, ProFiles] = {}
    missing: list[str] = []
    for instance_id in instance_ids:
        files = [folder / path for path in paths(instance_id)]
        missing += [str(file.relative_to(folder)) for file in files if not file.is_file()]
        if not missing:
            tasks[instance_id] = ProFiles(*(_read(file) for file in files))
    if missing:
        raise ProScriptsError(_incomplete(folder, missing))
    return ProScripts(origin or str(folder.resolve()), tasks)


def _read(file: Path) -> str:
    # As upstream: in text mode, so that a checkout with the line ends of Windows is none the worse.
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{file} cannot be read: {error}"
        raise ProScriptsError(message) from error


def _incomplete(folder: Path, missing: list[str]) -> str:
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return (
        f"{folder} lacks {', '.join(missing[:_SHOWN])}{more}\n"
        f"It has to be a checkout of {REPOSITORY}, or a folder of the same layout: run_scripts/ID/ and dockerfiles/"
    )

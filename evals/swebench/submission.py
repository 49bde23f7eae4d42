"""What a submission to the SWE-bench leaderboard says of itself: `metadata.yaml` and `README.md`.

The fields are those of SWE-bench/experiments (its `checklist.md` and the submissions of 2025). What only a person can
say is left empty there, and the README says so.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from evals.swebench.dataset_sources import FILES, NAMES
from results.run_directory import RunDirectory
from results.statistics import wilson_interval

FOLDERS = ("test", "lite", "verified", "multilingual", "multimodal")
"""The leaderboard's, one a dataset; `test` is that of the full SWE-bench."""
_FULL = ("swebench", "swebenchfull", "full")
_OWNERS = ("swe-bench", "princeton-nlp")

_SCRIPTED = ", scripted: this says nothing about any model"
_README = """# {name}

{resolved} of {tasks} tasks resolved{interval}, by SWE-bench's own grading, one attempt at each task.

| | |
|---|---|
| run | {run_id} |
| manifest | sha256 {sha256} |
| model | {model}{scripted} |
| harness | Unbroken {version}, agent `{agent}` |
| dataset | {source}{revision} |
| patches | {patches} of {tasks}; a task without one counts as not resolved |

`trajs/<instance_id>.jsonl` has one event a line: all that the model was sent and all that it wrote, thinking
included. `logs/<instance_id>/` has what the grading left.

To do before this is submitted: fill in what is empty in `metadata.yaml`, link the report on the system, name the
people behind it, and answer the checklist of SWE-bench/experiments: one attempt at each task, no knowledge of the
tests, no hints, no way to look solutions up.
"""


@dataclass(frozen=True)
class Submission:
    """What is said of a system. `split` is the folder of the benchmark, `date` is of the form 20261130."""

    model: str
    name: str
    split: str
    date: str
    site: str = ""
    report: str = ""
    authors: str = ""
    organisation: str = ""
    logo: str = ""
    open_model: bool | None = None
    """Whether the weights are public; None: nobody said."""
    open_system: bool = True

    @classmethod
    def of(cls, run: RunDirectory, model: str, split: str) -> "Submission":
        """What a run says of itself: the day of its first start (UTC), its model."""
        return cls(model, f"Unbroken + {model.rpartition('/')[2]}", split, _first_day(run))

    @property
    def folder(self) -> str:
        """`20261130_unbroken_org__model`."""
        safe = "".join(one if one.isalnum() or one in "._-" else "-" for one in self.model.replace("/", "__"))
        return f"{self.date}_unbroken_{safe}"


def split_of(run: RunDirectory) -> str | None:
    """The leaderboard's folder for the dataset of a run; None where nothing says which of its datasets that is.

    A dataset of the Hub says it when it is one of SWE-bench's own, a file by its whole name (`swebench_lite.parquet`,
    `verified.jsonl`), and the folder of a file never.
    """
    source = run.manifest.benchmark.source
    owner, _, name = NAMES.get(source, source).rpartition("/")
    if Path(source).suffix in FILES:
        name = Path(source).stem
    elif owner.lower() not in _OWNERS:
        return None
    word = re.sub(r"[^a-z0-9]", "", name.lower())
    return "test" if word in _FULL else next((one for one in FOLDERS[1:] if word in (one, f"swebench{one}")), None)


def write_submission(folder: Path, run: RunDirectory, submission: Submission, *, resolved: int, patches: int) -> None:
    """Write both files into `folder`; `resolved` and `patches` count tasks of one attempt."""
    import yaml

    metadata = {
        "info": {
            "authors": submission.authors,
            "logo": submission.logo,
            "name": submission.name,
            "report": submission.report,
            "site": submission.site,
        },
        "tags": {
            "checked": False,
            "model": [submission.model],
            "org": [submission.organisation] if submission.organisation else [],
            "os_model": submission.open_model,
            "os_system": submission.open_system,
            "system": {"attempts": "1"},
        },
    }
    text = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    (folder / "metadata.yaml").write_text(text, "utf-8")
    (folder / "README.md").write_text(_readme(run, submission, resolved, patches), "utf-8")


def _readme(run: RunDirectory, submission: Submission, resolved: int, patches: int) -> str:
    manifest = run.manifest
    tasks = len(manifest.benchmark.task_ids)
    interval = wilson_interval(resolved, tasks)
    shown = (
        f" ({resolved / tasks:.1%}; 95% Wilson interval {interval.low:.1%} to {interval.high:.1%})" if interval else ""
    )
    revision = manifest.benchmark.revision
    return _README.format(
        name=submission.name,
        resolved=resolved,
        tasks=tasks,
        interval=shown,
        run_id=manifest.run_id,
        sha256=manifest.sha256(),
        model=submission.model,
        scripted=", scripted: this says nothing about any model"
        if manifest.backend and manifest.backend.scripted
        else "",
        version=manifest.harness_version,
        agent=manifest.agent.name,
        source=manifest.benchmark.source,
        revision=f", revision {revision}" if revision else "",
        patches=patches,
    )


def _first_day(run: RunDirectory) -> str:
    started = min((one.started for one in run.sessions()), default=None)
    if started is None:
        return run.manifest.run_id[:8]
    return datetime.fromtimestamp(started, UTC).strftime("%Y%m%d")

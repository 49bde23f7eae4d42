"""The instances of SWE-bench and of SWE-bench Pro, one model for each, and how a record of a file becomes one.

`Row` has the columns of the v5 datasets (August 2026): beside the classic ones `image`, `eval_script`, `log_parser` and
`eval_type`. `ProRow` has those of ScaleAI/SWE-bench_Pro. Columns that neither needs stay in `model_extra`, so that a
row goes on as it came.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from typing_extensions import TypeVar

from evals.swebench.columns import DatasetError, is_json, parse_ids, pro_image, pullable_image

Kind = Literal["swebench", "pro"]

V5_COLUMNS = ("image", "eval_script", "log_parser", "eval_type")
"""What swebench 5 grades by, and rows of 4.x do not have."""


class Instance(BaseModel):
    """What the instances of every SWE-bench have."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: ClassVar[Kind]

    instance_id: str
    repo: str
    base_commit: str
    problem_statement: str
    patch: str
    test_patch: str


class Row(Instance):
    """One instance of SWE-bench. Its lists of tests are lists, or strings of JSON as swebench reads them."""

    kind: ClassVar[Kind] = "swebench"

    version: str
    FAIL_TO_PASS: str | list[str]
    PASS_TO_PASS: str | list[str]
    image: str
    eval_script: str
    log_parser: str
    eval_type: str

    @field_validator("FAIL_TO_PASS", "PASS_TO_PASS", mode="before")
    @classmethod
    def _as_swebench_reads_it(cls, value: object) -> object:
        ids = parse_ids(value)
        return value if isinstance(value, str) and is_json(value) else ids


class ProRow(Instance):
    """One instance of SWE-bench Pro. Its id holds the hash of the solution: never show it to an agent."""

    kind: ClassVar[Kind] = "pro"

    fail_to_pass: list[str]
    pass_to_pass: list[str]
    selected_test_files_to_run: list[str]
    before_repo_set_cmd: str
    requirements: str = ""
    interface: str = ""
    repo_language: str = ""
    dockerhub_tag: str = ""

    @property
    def image(self) -> str:
        """The image that holds the repository, in /app: the published one, unless a column of that name has another."""
        return (self.model_extra or {}).get("image") or pro_image(self.instance_id, self.repo, self.dockerhub_tag)

    @field_validator("fail_to_pass", "pass_to_pass", "selected_test_files_to_run", mode="before")
    @classmethod
    def _parsed(cls, value: object) -> object:
        return parse_ids(value)

    @field_validator("requirements", "interface", "repo_language", "dockerhub_tag", mode="before")
    @classmethod
    def _empty_for_none(cls, value: object) -> object:
        return "" if value is None else value


AnyInstance = Row | ProRow
"""A task for an agent and a verifier, of either benchmark."""
AnyRow = TypeVar("AnyRow", bound=Instance, default=Row)
"""Row unless said otherwise."""


def instance(record: Any, number: int, source: str) -> Row | ProRow:
    """The instance in a record, the `number`-th of `source`. Raises DatasetError, which names row and column."""
    try:
        if _is_pro(record):
            return ProRow.model_validate(record)
        return Row.model_validate(_with_image(record))
    except ValidationError as error:
        raise DatasetError(_explanation(record, error, f"row {number} of {source}")) from error


def lacks_v5_columns(record: Any) -> bool:
    """Whether it is a row of swebench 4.x, or one with holes."""
    return _is_swebench(record) and not all(column in record for column in V5_COLUMNS)


def _is_swebench(record: Any) -> bool:
    return isinstance(record, Mapping) and "instance_id" in record and not _is_pro(record)


def _is_pro(record: Any) -> bool:
    if not isinstance(record, Mapping) or "FAIL_TO_PASS" in record:
        return False
    return "before_repo_set_cmd" in record or "fail_to_pass" in record


def _with_image(record: Any) -> Any:
    if not _is_swebench(record):
        return record
    columns = dict(cast("Mapping[str, Any]", record))
    name, image = columns["instance_id"], columns.get("image")
    if isinstance(name, str) and isinstance(image, str | None):
        columns["image"] = pullable_image(image, name)
    return columns


def _explanation(record: Any, error: ValidationError, place: str) -> str:
    problems = [(str(problem["loc"][0] if problem["loc"] else "it"), problem["msg"]) for problem in error.errors()]
    missing = [column for column in V5_COLUMNS if column in dict(problems) and record.get(column) is None]
    if missing and len(missing) == len(problems):
        return _too_old(record, missing, place)
    name = f"{record['instance_id']}; " if isinstance(record, Mapping) and "instance_id" in record else ""
    said = ", ".join(f"{column}: {words.removeprefix('Value error, ')}" for column, words in problems)
    benchmark = "SWE-bench Pro" if _is_pro(record) else "SWE-bench"
    return f"{place} is no {benchmark} instance ({name}{said})"


def _too_old(record: Mapping[str, Any], missing: list[str], place: str) -> str:
    return (
        f"{place} ({record['instance_id']}) has the columns of swebench 4.x: it lacks {', '.join(missing)}, by which "
        "swebench 5 grades, and the other columns do not tell them. SWE-bench's datasets have them since August 2026 "
        "(commit 52b72b3 of its repository): use that one (--dataset verified), or keep these rows and take the "
        "missing columns from there (--complete-from verified, or a file of it)"
    )

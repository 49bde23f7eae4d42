"""SWE-bench rows: read from every kind of file, checked, selected, hashed."""

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_desk import write

from evals.swebench.dataset import Dataset, DatasetError, Row, load_dataset


def row(instance_id: str = "demo__one-1", **changes: Any) -> dict[str, Any]:
    columns = {
        "instance_id": instance_id, "repo": "demo/one", "base_commit": "0" * 40, "version": "1.0",
        "problem_statement": "It breaks.", "patch": "p", "test_patch": "t", "FAIL_TO_PASS": '["a"]',
        "PASS_TO_PASS": "[]", "image": "demo:1", "eval_script": "true", "log_parser": "parse_log_pytest",
        "eval_type": "pass_and_fail", "difficulty": "easy",
    }  # fmt: skip
    return {**columns, **changes}


@pytest.mark.parametrize("name", ["rows.parquet", "rows.json", "rows.jsonl"])
def test_each_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    rows = [row("demo__one-1"), row("demo__two-2", problem_statement="ünïcode\r\n{braces}")]
    dataset = load_dataset(write(tmp_path / name, rows))
    assert [found.model_dump() for found in dataset.rows] == rows
    assert dataset.content_sha256() == load_dataset(write(tmp_path / "again.json", rows)).content_sha256()


def test_a_line_separator_inside_a_text_is_no_new_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row(problem_statement="a\u2028b\x85c"), ensure_ascii=False) + "\n", "utf-8")
    (found,) = load_dataset(str(path)).rows
    assert found.problem_statement == "a\u2028b\x85c"


def test_an_instance_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds an instance twice"):
        load_dataset(write(tmp_path / "rows.json", [row(), row()]))


def test_columns_that_we_do_not_know_stay_with_the_row(tmp_path: Path) -> None:
    (found,) = load_dataset(write(tmp_path / "rows.json", [row(image_assets="{}")])).rows
    assert found.model_dump()["image_assets"] == "{}"


def test_the_hash_tells_one_changed_character(tmp_path: Path) -> None:
    before = load_dataset(write(tmp_path / "a.json", [row()])).content_sha256()
    after = load_dataset(write(tmp_path / "b.json", [row(eval_script="true ")])).content_sha256()
    assert before != after


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.json", "{not json", "cannot be read as a dataset"),
        ("rows.json", '{"instance_id": "x"}', "holds no list of rows"),
        ("rows.json", "[]", "holds no rows"),
        ("rows.json", '[{"instance_id": "x"}]', "row 1 of .* is no SWE-bench instance .*base_commit"),
        ("rows.json", '["text"]', "row 1 of .* is no SWE-bench instance"),
        ("rows.jsonl", '{"a": 1}\n{', "cannot be read as a dataset"),
        ("rows.parquet", "PAR1 but not", "cannot be read as a dataset"),
        ("rows.json", "\udcff", "cannot be read as a dataset"),
    ],
)
def test_a_file_that_is_no_dataset_is_refused_by_name(tmp_path: Path, name: str, content: str, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetError, match=says) as refused:
        load_dataset(str(path))
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("source", ["missing.parquet", "some/folder/rows", "."])
def test_a_file_that_is_not_there_is_refused_by_name(source: str) -> None:
    with pytest.raises(DatasetError, match="there is no dataset file"):
        load_dataset(source)


def test_a_name_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(DatasetError, match="verified"):
        load_dataset("verifyed")


def three() -> Dataset:
    return Dataset(
        "rows", None, [Row.model_validate(row(name)) for name in ("django__a-1", "django__b-2", "flask__c-3")]
    )


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], ["django__a-1", "django__b-2", "flask__c-3"]),
        (["flask__c-3", "django__a-1"], ["django__a-1", "flask__c-3"]),
        (["django__*"], ["django__a-1", "django__b-2"]),
        (["*-?"], ["django__a-1", "django__b-2", "flask__c-3"]),
    ],
)
def test_instances_are_selected_in_the_order_of_the_dataset(patterns: list[str], expected: list[str]) -> None:
    assert [found.instance_id for found in three().select(patterns).rows] == expected


def test_an_unknown_instance_is_refused_with_what_is_close_to_it() -> None:
    with pytest.raises(DatasetError, match=r"'flask__c-4'; close to it: flask__c-3"):
        three().select(["django__a-1", "flask__c-4"])

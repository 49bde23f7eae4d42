"""Columns in every spelling that SWE-bench's datasets have had: rows of v5, of 4.x, and of SWE-bench Pro."""

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_desk import pro_row, real_rows, write
from hypothesis import given
from hypothesis import strategies as st

from evals.swebench.columns import LONGEST_LIST, parse_ids, pro_image, pullable_image, swebench_image
from evals.swebench.dataset import DatasetError, ProRow, Row, load_dataset
from evals.swebench.rows import V5_COLUMNS

ids = st.lists(st.text())


def load(tmp_path: Path, *rows: dict[str, Any], said: list[str] | None = None, **options: Any) -> Any:
    heard: list[str] = [] if said is None else said
    return load_dataset(write(tmp_path / "rows.json", list(rows)), tell=heard.append, **options)


@given(ids)
def test_a_list_is_the_same_in_json_in_python_and_as_it_is(names: list[str]):
    assert parse_ids(names) == parse_ids(json.dumps(names)) == parse_ids(repr(names)) == names


@given(ids)
def test_swebench_can_read_the_lists_of_every_row(names: list[str]):
    for spelling in (names, json.dumps(names), json.dumps(names, ensure_ascii=False), repr(names)):
        kept = Row.model_validate({**real_rows()[0], "FAIL_TO_PASS": spelling}).FAIL_TO_PASS
        assert (json.loads(kept) if isinstance(kept, str) else kept) == names


def test_the_longest_list_of_verified_fits_twice_over():
    names = [f"lib/matplotlib/tests/test_mlab.py::TestSpectral::test_spectral[case-{n:080}]" for n in range(2 * 2476)]
    assert parse_ids(repr(names)) == names


@pytest.mark.parametrize(("value", "says"), [
    ("[" * 100_000, "neither in JSON nor in Python"),
    ("-" * 100_000 + "1", "neither in JSON nor in Python"),
    ("+".join("1" * 50_000), "neither in JSON nor in Python"),
    ("__import__('os').getcwd()", "neither in JSON nor in Python"),
    ("['a', open('x')]", "neither in JSON nor in Python"),
    ("['a', 'b'", "neither in JSON nor in Python"),
    ("['" + "a" * LONGEST_LIST + "']", "no list of test ids is longer"),
    ('{"a": 1}', "is dict, not a list"),
    ("('a', 'b')", "is tuple, not a list"),
    (None, "is NoneType, not a list"),
    (3, "is int, not a list"),
    ("['a', 1]", "holds 1 at position 1"),
    ([["a"]], "holds ['a'] at position 0"),
])  # fmt: skip
def test_what_is_no_list_of_ids_is_refused_with_row_and_column(tmp_path: Path, value: object, says: str):
    with pytest.raises(DatasetError) as refused:
        load(tmp_path, real_rows()[0], {**real_rows()[1], "PASS_TO_PASS": value})
    assert says in str(refused.value)
    assert "row 2 of " in str(refused.value)
    assert "django__django-16877; PASS_TO_PASS: " in str(refused.value)
    with pytest.raises(DatasetError) as refused:
        load(tmp_path, pro_row(selected_test_files_to_run=value))
    assert "row 1 of " in str(refused.value)
    assert "no SWE-bench Pro instance (instance_demo__one-0123abc; selected_test_files_to_run: " in str(refused.value)
    assert says in str(refused.value)


def test_a_blank_list_names_no_test(tmp_path: Path):
    (row,) = load(tmp_path, {**real_rows()[0], "PASS_TO_PASS": ""}).rows
    assert row.PASS_TO_PASS == []


def test_real_rows_stay_as_they_are(tmp_path: Path):
    said: list[str] = []
    dataset = load(tmp_path, *real_rows(), said=said)
    assert [row.model_dump() for row in dataset.rows] == real_rows()
    assert (dataset.kind, said) == ("swebench", [])


def test_the_published_names_are_those_of_the_real_rows():
    for row in real_rows():
        assert swebench_image(row["instance_id"]) == row["image"]


@pytest.mark.parametrize("image", [
    "amd64.{}:latest", "sweb.eval.x86_64.{}:latest", "sweb.eval.arm64.{}:latest", "{}", "", None,
])  # fmt: skip
def test_an_image_without_a_namespace_gets_the_published_name_and_that_is_said(tmp_path: Path, image: str | None):
    said: list[str] = []
    rows = [{**row, "image": image and image.format(row["instance_id"])} for row in real_rows()]
    dataset = load(tmp_path, *rows, said=said)
    assert [row.image for row in dataset.rows] == [row["image"] for row in real_rows()]
    assert "6 rows name an image without a namespace" in said[0]


@pytest.mark.parametrize("image", ["demo:1", "unbroken/a__b-1:2", "127.0.0.1:5000/sweb.eval.x86_64.a__b-1:latest"])
def test_an_image_of_somebody_s_own_stays(image: str):
    assert pullable_image(image, "a__b-1") == image


@pytest.mark.parametrize("column", V5_COLUMNS[1:])
def test_a_row_of_swebench_4_says_what_it_lacks_and_where_that_is(tmp_path: Path, column: str):
    old = {name: value for name, value in real_rows()[0].items() if name != column}
    with pytest.raises(DatasetError) as refused:
        load(tmp_path, old)
    for part in ("astropy__astropy-12907", "4.x", f"lacks {column}", "--dataset verified", "--complete-from"):
        assert part in str(refused.value)


def test_the_name_of_an_image_is_the_one_column_that_the_others_tell(tmp_path: Path):
    (row,) = load(tmp_path, {name: value for name, value in real_rows()[0].items() if name != "image"}).rows
    assert row.image == real_rows()[0]["image"]


def old_rows(**changes: str) -> list[dict[str, Any]]:
    return [{**{name: row[name] for name in row if name not in V5_COLUMNS}, **changes} for row in real_rows()]


def test_rows_of_swebench_4_take_what_they_lack_from_a_newer_dataset(tmp_path: Path):
    newer = write(tmp_path / "newer.jsonl", list(reversed(real_rows())))
    rows = load(tmp_path, *old_rows(FAIL_TO_PASS='["mine"]'), complete_from=newer).rows
    assert [row.model_dump() for row in rows] == [{**row, "FAIL_TO_PASS": '["mine"]'} for row in real_rows()]


@pytest.mark.parametrize(("changes", "says"), [
    ({"base_commit": "f" * 40}, "the base_commit of astropy__astropy-12907 is another one"),
    ({"test_patch": "another"}, "the test_patch of astropy__astropy-12907 is another one"),
    ({"instance_id": "a__b-1"}, "has no a__b-1"),
])  # fmt: skip
def test_a_newer_row_that_is_not_the_same_instance_lends_nothing(tmp_path: Path, changes: dict[str, str], says: str):
    newer = write(tmp_path / "newer.json", real_rows())
    with pytest.raises(DatasetError, match=says):
        load(tmp_path, *old_rows(**changes)[:1], complete_from=newer)


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.parquet"])
def test_rows_of_pro_are_read_from_every_kind_of_file(tmp_path: Path, name: str):
    dataset = load_dataset(write(tmp_path / name, [pro_row(), pro_row("instance_demo__one-2", interface=None)]))
    row, other = dataset.of(ProRow).rows
    assert dataset.kind == "pro"
    assert (row.fail_to_pass, row.pass_to_pass) == (["test/a.js | it's"], [])
    assert row.selected_test_files_to_run == ["test/a.js"]
    assert row.image == "jefzda/sweap-images:demo.one-demo__one-0123abc"
    assert row.model_dump()["issue_categories"] == "['bug']"
    assert other.interface == ""


def test_a_dataset_says_its_kind_and_is_of_one(tmp_path: Path):
    with pytest.raises(DatasetError, match="rows of SWE-bench and of SWE-bench Pro"):
        load(tmp_path, real_rows()[0], pro_row())
    with pytest.raises(DatasetError, match="holds rows of pro, and here only those of swebench"):
        load(tmp_path, pro_row()).of(Row)


def test_the_hash_of_pro_rows_does_not_depend_on_how_lists_are_spelled(tmp_path: Path):
    one = load(tmp_path, pro_row(pass_to_pass="['a', 'b']")).content_sha256()
    other = load(tmp_path, pro_row(pass_to_pass='["a", "b"]')).content_sha256()
    assert one == other != load(tmp_path, pro_row(pass_to_pass="['a']")).content_sha256()


HASH = "ec0f940ef0e8e3b61078f145f34dc40d1938e6c5"


@pytest.mark.parametrize(("name", "repository", "tag"), [
    ("instance_NodeBB__NodeBB-7b8b-vf2cf", "NodeBB/NodeBB", "nodebb.nodebb-NodeBB__NodeBB-7b8b-vf2cf"),
    ("instance_navidrome__navidrome-1a2b-vnan", "navidrome/navidrome", "navidrome.navidrome-navidrome__navidrome-1a2b"),
    ("instance_element-hq__element-web-1-vnan", "element-hq/element-web",
     "element-hq.element-element-hq__element-web-1"),
    (f"instance_element-hq__element-web-{HASH}-vnan", "element-hq/element-web",
     f"element-hq.element-web-element-hq__element-web-{HASH}-vnan"),
    (f"instance_a__b-{'c' * 200}", "a/b", ("a.b-a__b-" + "c" * 200)[:128]),
])  # fmt: skip
def test_a_pro_image_without_its_column_is_named_by_the_rule_of_its_evaluation(name: str, repository: str, tag: str):
    assert pro_image(name, repository, None) == f"jefzda/sweap-images:{tag}"

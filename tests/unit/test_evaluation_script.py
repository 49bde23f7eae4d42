"""A script is cut at its markers, or not at all."""

import json
import os
from pathlib import Path

import pytest

from evals.swebench.dataset import Row, load_dataset
from evals.swebench.evaluation_script import END, START, NoMarkersError, cut
from evals.swebench.runner_summary import reader_of

ROWS = [
    row
    for row in json.loads((Path(__file__).parent.parent / "data" / "swebench_rows.json").read_text("utf-8"))
    if START in row.get("eval_script", "")
]


@pytest.mark.parametrize("record", ROWS, ids=[row["instance_id"] for row in ROWS])
def test_the_parts_of_official_rows(record: dict[str, str]) -> None:
    script = cut(Row.model_validate(record))
    assert "cd /testbed" in script.preparation
    assert len(script.tests.splitlines()) <= 1
    assert START not in script.preparation + script.tests
    assert END not in script.preparation + script.tests


@pytest.mark.parametrize(
    "broken", [f"{START}\npytest\n", f"{END}\npytest\n{START}\n", f"{START}\n{START}\n{END}\n", ""]
)
def test_a_script_that_cannot_be_cut_is_said(broken: str) -> None:
    row = Row.model_validate(ROWS[0]).model_copy(update={"eval_script": broken})
    with pytest.raises(NoMarkersError, match=ROWS[0]["instance_id"]):
        cut(row)


def test_a_marker_in_a_test_patch_is_none() -> None:
    row = Row.model_validate(ROWS[0])
    quoted = row.model_copy(update={"eval_script": row.eval_script.replace("cd /", f"+ {START}\ncd /", 1)})
    assert cut(quoted).tests == cut(row).tests != ""


@pytest.mark.skipif("UNBROKEN_DATASET" not in os.environ, reason="needs $UNBROKEN_DATASET, all rows of Verified")
def test_every_row_of_verified_is_cut_and_its_runner_is_known() -> None:
    rows = load_dataset(os.environ["UNBROKEN_DATASET"]).of(Row).rows
    scripts = [cut(row) for row in rows]
    assert len(scripts) == 500
    assert all(reader_of(script.tests) is not None and len(script.tests.splitlines()) == 1 for script in scripts)

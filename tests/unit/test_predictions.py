"""Predictions of other tools: every spelling is read, and what is wrong with a file is said."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.swebench.dataset import Dataset, Row
from evals.swebench.predictions import Prediction, PredictionsError, pair, read_predictions


def written(path: Path, entries: Any) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(entry) + "\n\n" for entry in entries), "utf-8")
    else:
        path.write_text(json.dumps(entries), "utf-8")
    return path


def dataset(*ids: str) -> Dataset[Row]:
    empty = dict.fromkeys(Row.model_fields, "")
    return Dataset("verified", None, [Row.model_validate({**empty, "instance_id": one}) for one in ids])


ENTRIES = [
    {"instance_id": "a__a-1", "model_patch": "diff ü\r\n", "model_name_or_path": "org/m"},
    {"instance_id": "a__a-2", "model_patch": None, "model_name_or_path": "org/m"},
]
EXPECTED = {
    "a__a-1": Prediction("a__a-1", "diff ü\r\n".encode(), "org/m"),
    "a__a-2": Prediction("a__a-2", b"", "org/m"),
}


@pytest.mark.parametrize("name", ["preds.json", "preds.jsonl"])
def test_a_list_and_lines_give_the_same(tmp_path: Path, name: str) -> None:
    assert read_predictions(written(tmp_path / name, ENTRIES)) == EXPECTED


def test_an_object_by_id_may_leave_the_ids_out_inside(tmp_path: Path) -> None:
    by_id = {entry["instance_id"]: {"model_patch": entry["model_patch"], "model": "org/m"} for entry in ENTRIES}
    assert read_predictions(written(tmp_path / "preds.json", by_id)) == EXPECTED


def test_the_spelling_of_pro_is_read(tmp_path: Path) -> None:
    entry = {"instance_id": "instance_x", "patch": "diff", "prefix": "mine"}
    assert read_predictions(written(tmp_path / "p.json", [entry])) == {
        "instance_x": Prediction("instance_x", b"diff", "mine")
    }


def test_nobody_has_to_say_who_made_it(tmp_path: Path) -> None:
    found = read_predictions(written(tmp_path / "p.jsonl", [{"instance_id": "a", "model_patch": ""}]))
    assert found == {"a": Prediction("a", b"", None)}


def test_bytes_that_are_no_utf_8_come_back_as_they_were(tmp_path: Path) -> None:
    patch = b"-caf\xe9\n".decode("utf-8", "surrogateescape")
    found = read_predictions(written(tmp_path / "p.json", [{"instance_id": "a", "model_patch": patch}]))
    assert found["a"].patch == b"-caf\xe9\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.json", "{", r"p\.json is no JSON"),
        ("p.json", "3", r"p\.json holds no predictions: give a list"),
        ("p.json", "[]", r"p\.json holds no predictions"),
        ("p.json", "[1]", r"entry 1 of .*p\.json is no prediction"),
        ("p.json", '{"a": 1}', r"entry 'a' of .*p\.json is no prediction"),
        ("p.json", '{"a": {"instance_id": "b", "patch": ""}}', r"entry 'a' of .* says that it is for 'b'"),
        ("p.json", '{"a": {"patch": ""}, "a": {"patch": "x"}}', r"'a' stands in one object twice"),
        ("p.jsonl", '\n{"instance_id": "a"}', r"line 2 of .*p\.jsonl \(a\) has no patch"),
        ("p.jsonl", '{"model_patch": ""}', r"line 1 of .*p\.jsonl has no instance_id"),
        ("p.jsonl", '{"instance_id": "a", "patch": []}', r"line 1 of .* \(a\): patch is no text, but of the type list"),
        ("p.jsonl", '{"instance_id": "a", "patch": "\\ud83d"}', r"half a surrogate pair at character 0"),
        ("p.jsonl", '{"instance_id": "\\udce9", "patch": ""}', r"has a name with half a surrogate pair"),
        ("p.jsonl", '{"instance_id": "a", "patch": "", "model": "\\udce9"}', r"\(a\) has a name with half a surrogate"),
        ("p.jsonl", '{"instance_id": "a", "patch": ""}\n{"instance_id": "a", "patch": ""}', r"line 2 .* second"),
        ("p.jsonl", '{"instance_id": "a", "patch": ""}\n{"insta', r"line 2 of .*p\.jsonl is no JSON"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(PredictionsError, match=message):
        read_predictions(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match=r"gone\.json cannot be read"):
        read_predictions(tmp_path / "gone.json")


def test_the_denominator_is_the_dataset() -> None:
    prediction = Prediction("b", b"diff", None)
    paired = pair(dataset("a", "b", "c"), {"b": prediction})
    assert [(row.instance_id, found) for row, found in paired.rows] == [("a", None), ("b", prediction), ("c", None)]
    assert paired.missing == ["a", "c"]


def test_predictions_for_tasks_that_were_not_selected_are_left_out_and_told() -> None:
    predictions = {name: Prediction(name, b"x", None) for name in ("a", "c")}
    paired = pair(dataset("a", "b"), predictions, {"a", "b", "c"})
    assert (paired.missing, paired.not_selected) == (["b"], ["c"])
    with pytest.raises(PredictionsError, match="does not have: 'z'"):
        pair(dataset("a", "b"), {**predictions, "z": Prediction("z", b"x", None)}, {"a", "b", "c"})


def test_ids_that_the_dataset_does_not_have_are_listed_with_what_was_meant() -> None:
    wrong = {one: Prediction(one, b"", None) for one in ("django__django-1100", *(f"zz-{n}" for n in range(7)))}
    with pytest.raises(PredictionsError) as caught:
        pair(dataset("django__django-11001", "sympy__sympy-1"), wrong)
    message = str(caught.value)
    assert "verified does not have: 'django__django-1100' (close to it: django__django-11001), 'zz-0'" in message
    assert message.endswith("and 3 more")


@given(st.text() | st.binary())
def test_a_file_is_read_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, text: str | bytes) -> None:
    path = tmp_path_factory.mktemp("predictions") / "p.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    with pytest.raises(PredictionsError):
        read_predictions(path)

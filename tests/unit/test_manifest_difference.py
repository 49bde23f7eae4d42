"""Two manifests differ in what makes two runs, and in nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.manifest_difference import manifest_differences
from results.records.events import BackendDescription
from results.records.manifest import AgentDescription, BenchmarkDescription, Manifest

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner))
SETTINGS = st.dictionaries(st.text(min_size=1, max_size=3), VALUES, max_size=4)


def manifest(**changed: Any) -> Manifest:
    given_: dict[str, Any] = {
        "run_id": "run",
        "benchmark": BenchmarkDescription(name="demo", source="here", content_sha256="0", task_ids=["a", "b"]),
        "agent": AgentDescription(name="default"),
        "backend": BackendDescription(base_url="http://here", model="qwen", dialect="vllm"),
        "harness_version": "0",
    }
    return Manifest(**(given_ | changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"attempts": 3}, "attempts: 1 and 3"),
        ({"backend": None}, "backend: {'base_url': 'http://here', 'model': 'qwen'"),
        ({"sandbox": {"network": "none"}}, "sandbox.network: None and 'none'"),
        (
            {"backend": BackendDescription(base_url="http://here", model="llama", dialect="vllm")},
            "backend.model: 'qwen' and 'llama'",
        ),
    ],
)
def test_a_difference_names_its_field_and_both_values(changed: dict[str, Any], said: str) -> None:
    (difference,) = manifest_differences(manifest(), manifest(**changed))
    assert str(difference).startswith(said)


def test_the_name_of_a_run_is_no_difference() -> None:
    assert manifest_differences(manifest(), manifest(run_id="another")) == []


@given(sandbox=SETTINGS)
def test_a_manifest_is_the_same_after_its_file(sandbox: dict[str, Any]) -> None:
    made = manifest(sandbox=sandbox)
    assert manifest_differences(made, Manifest.model_validate_json(made.model_dump_json())) == []


@given(first=SETTINGS, second=SETTINGS)
def test_both_ways_the_same_fields_differ(first: dict[str, Any], second: dict[str, Any]) -> None:
    one, other = manifest(sandbox=first), manifest(sandbox=second)
    there, back = manifest_differences(one, other), manifest_differences(other, one)
    assert {(each.key, repr(each.first), repr(each.second)) for each in there} == {
        (each.key, repr(each.second), repr(each.first)) for each in back
    }
    assert not there or one != other

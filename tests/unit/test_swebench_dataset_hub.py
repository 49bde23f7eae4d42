"""Datasets by name: the revision that is used is the one that was asked for, and a cached copy is said to be one.

A small Hub on this machine stands for the real one; the `datasets` package is the real one, with a cache of its own.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from dataset_desk import hub, load_elsewhere, pro_row, real_rows, write

from evals.swebench.dataset_sources import HubDataset, locate

OLD, NEW, PRO = "01d" + "0" * 37, "4e3" + "1" * 37, "9a0" + "2" * 37
VERIFIED = "SWE-bench/SWE-bench_Verified"
OFFLINE = {"HF_HUB_OFFLINE": "1"}
IDS = [row["instance_id"] for row in real_rows()]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("files")

    def content(rows: list[dict[str, Any]]) -> bytes:
        return Path(write(folder / "rows.parquet", rows)).read_bytes()

    verified = {f"main@{NEW}": content(real_rows()), f"v1@{OLD}": content(real_rows()[:2])}
    return {VERIFIED: verified, "ScaleAI/SWE-bench_Pro": {f"main@{PRO}": content([pro_row()])}}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def fetched(cache: Path, files: dict[str, dict[str, bytes]]) -> Generator[list[dict[str, Any]]]:
    """From the Hub; the older revision is what was loaded last."""
    with hub(files) as address:
        yield load_elsewhere(cache, ["verified", "pro", f"{VERIFIED}@v1", "verified@v9"], HF_ENDPOINT=address)


def test_a_dataset_by_name_has_the_commit_of_the_hub(fetched: list[dict[str, Any]]):
    new, pro, old, _ = fetched
    assert new == {"source": "verified", "revision": NEW, "kind": "swebench", "ids": IDS, "said": []}
    assert old == {"source": VERIFIED, "revision": OLD, "kind": "swebench", "ids": IDS[:2], "said": []}
    assert (pro["revision"], pro["kind"], pro["ids"]) == (PRO, "pro", ["instance_demo__one-0123abc"])


def test_a_revision_that_the_hub_does_not_have_is_refused(fetched: list[dict[str, Any]]):
    assert "SWE-bench_Verified at revision v9 cannot be had" in fetched[-1]["error"]


@pytest.mark.usefixtures("fetched")
def test_without_a_network_the_cache_gives_the_revision_that_was_asked_for_and_it_is_said(cache: Path):
    sources = ["verified", "verified@v1", f"verified@{OLD}", f"{VERIFIED}@{OLD[:7]}", "pro"]
    found = load_elsewhere(cache, sources, **OFFLINE)
    assert [one["revision"] for one in found] == [NEW, OLD, OLD, OLD, PRO]
    assert [one["ids"] for one in found[:4]] == [IDS, IDS[:2], IDS[:2], IDS[:2]]
    for one in found:
        (said,) = one["said"]
        assert "the cache on this machine" in said
        assert one["revision"] in said
    assert "HF_HUB_OFFLINE" in found[0]["said"][0]


@pytest.mark.usefixtures("fetched")
def test_what_the_cache_does_not_have_is_refused_with_the_way_out(cache: Path):
    for loaded in load_elsewhere(cache, ["verified@v2", f"verified@{'7' * 40}", "lite", "acme/none"], **OFFLINE):
        assert "the cache on this machine does not have it" in loaded["error"]
        assert "--dataset PATH" in loaded["error"]


@pytest.mark.usefixtures("fetched")
def test_a_host_that_cannot_be_found_is_no_network(cache: Path):
    (loaded,) = load_elsewhere(cache, ["verified"], HF_ENDPOINT="http://hub.invalid")
    assert (loaded["revision"], loaded["ids"]) == (NEW, IDS)
    assert "no network: hub.invalid cannot be found" in loaded["said"][0]


@pytest.mark.parametrize(("source", "name", "revision"), [
    ("verified", VERIFIED, None), ("lite", "SWE-bench/SWE-bench_Lite", None), ("full", "SWE-bench/SWE-bench", None),
    ("multilingual", "SWE-bench/SWE-bench_Multilingual", None), ("pro", "ScaleAI/SWE-bench_Pro", None),
    ("acme/Set.v2", "acme/Set.v2", None), ("acme/set@refs/convert/parquet", "acme/set", "refs/convert/parquet"),
    ("pro@abc", "ScaleAI/SWE-bench_Pro", "abc"),
])  # fmt: skip
def test_names_and_revisions_of_the_hub(source: str, name: str, revision: str | None):
    assert locate(source) == HubDataset(name, revision)

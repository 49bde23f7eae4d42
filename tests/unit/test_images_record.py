"""The record of pulled images: whole at every moment, and right although several processes write it at once."""

import json
import multiprocessing
from pathlib import Path

import pytest

from evals.images.layers import LocalImage
from evals.images.names import ImageName
from evals.images.pulled_images import PulledImages
from results.record_files import DamagedFileError

DIGEST = "sha256:" + "1" * 64


@pytest.fixture
def record(tmp_path: Path) -> PulledImages:
    return PulledImages(tmp_path / "images" / "engine.json", "engine")


def image(name: str, digest: str | None = DIGEST) -> LocalImage:
    return LocalImage(name, "sha256:id", digest, {})


def test_what_was_pulled_is_there_afterwards(record: PulledImages) -> None:
    assert record.read() == {}
    assert record.add(image("a")) is None
    (known,) = PulledImages(record.path, "engine").read().values()
    assert (known.image_id, known.digest, known.removed) == ("sha256:id", DIGEST, None)
    assert known.pulled == known.used


def test_a_use_is_recorded_and_only_of_ours(record: PulledImages) -> None:
    record.mark_used("a")
    assert not record.path.exists()
    record.add(image("a"))
    before = record.read()["a"]
    record.mark_used("a")
    record.mark_used("b")
    after = record.read()
    assert set(after) == {"a"}
    assert after["a"].used > before.used
    assert after["a"].pulled == before.pulled


def test_another_digest_is_told_even_after_the_image_was_removed(record: PulledImages) -> None:
    record.add(image("a"))
    record.mark_removed("a")
    assert record.read()["a"].removed
    assert record.add(image("a")) is None
    assert record.read()["a"].removed is None
    assert record.add(image("a", "sha256:" + "2" * 64)) == DIGEST
    assert record.add(image("a", None)) is None


def test_what_was_here_before_is_not_ours_and_its_digest_is_known(record: PulledImages) -> None:
    present = {ImageName.parse("a"): "sha256:id"}
    record.add(image("a"))
    assert set(record.standing(present)) == {"a"}
    assert record.standing({}) == record.standing({ImageName.parse("a"): "sha256:other"}) == {}
    record.add(image("a"), is_ours=False)
    assert record.standing(present) == {}
    assert record.add(image("a", "sha256:" + "2" * 64)) == DIGEST


def test_what_was_imported_is_ours_only_where_that_is_asked_for(record: PulledImages) -> None:
    present = {ImageName.parse(name): "sha256:id" for name in "abc"}
    record.add(image("a"))
    for name in ("a", "b"):
        record.add_imported(image(name, None), None, is_new=True)
    record.add_imported(image("c", None), DIGEST, is_new=False)
    assert record.standing(present) == {}
    assert set(record.standing(present, imported=True)) == {"a", "b"}
    before = record.standing(present, imported=True)["b"]
    record.mark_used("b")
    assert record.standing(present, imported=True)["b"].used > before.used
    record.mark_removed("b")
    assert set(record.standing(present, imported=True)) == {"a"}
    assert [record.add(image(name, "sha256:" + "2" * 64)) for name in "abc"] == [DIGEST, None, DIGEST]
    assert set(record.standing(present)) == {"a", "b", "c"}


def test_several_processes_lose_nothing(record: PulledImages) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_many, args=(record, number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(50)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert set(record.read()) == {f"{number}-{count}" for number in range(3) for count in range(10)}
    assert {path.name for path in record.path.parent.iterdir()} == {"engine.json", "engine.lock"}


def add_many(record: PulledImages, number: int) -> None:
    for count in range(10):
        record.add(image(f"{number}-{count}"))
        record.mark_used(f"{number}-{count}")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"engine": 1}', '{"format": 99, "engine": "e", "images": {}}'])
def test_a_record_that_is_not_understood_is_named_and_stays_as_it_is(record: PulledImages, content: str) -> None:
    record.path.parent.mkdir()
    record.path.write_text(content)
    with pytest.raises(DamagedFileError, match=r"engine\.json"):
        record.add(image("a"))
    assert record.path.read_text() == content


def test_a_failure_in_the_middle_leaves_the_old_record(record: PulledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    record.add(image("a"))
    before = record.path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("results.whole_files.os.fsync", no_space)
        with pytest.raises(OSError, match="No space"):
            record.add(image("b"))
    assert record.path.read_bytes() == before
    assert json.loads(before)["engine"] == "engine"
    record.add(image("b"))


def no_space(descriptor: int) -> None:
    raise OSError(28, "No space left on device")

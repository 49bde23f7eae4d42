"""Runs at a URL: what one machine has recorded is what another one sees, and never half of it."""

import json
import threading
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from shared_server import tree

from results import shared_lock
from results.records.manifest import AgentDescription, BenchmarkDescription, Manifest, SessionRecord
from results.records.outcome import Outcome, TryEnd
from results.records.verdict import Verdict
from results.run_at_work import run_at_work
from results.run_directory import RunDirectory, TrialDirectory
from results.run_lock import RunBusyError
from results.shared_storage import SharedStorage, SharedStorageError, is_url, storage_of

BENCHMARK = BenchmarkDescription(name="demo", source="here", content_sha256="0", task_ids=["a", "b"])
MANIFEST = Manifest(run_id="run", benchmark=BENCHMARK, agent=AgentDescription(name="nop"), harness_version="0")


@pytest.fixture(params=["file", "s3"])
def url(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    s3_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return f"file://{tmp_path}/shared" if request.param == "file" else f"s3://runs/{tmp_path.name}"


@pytest.fixture
def here(url: str, tmp_path: Path) -> SharedStorage:
    return SharedStorage.at(url, tmp_path / "here")


@pytest.fixture
def there(url: str, tmp_path: Path) -> SharedStorage:
    """The same storage as another machine has it."""
    return SharedStorage.at(url + "/", tmp_path / "there")


def begin(storage: SharedStorage, run_id: str = "run") -> RunDirectory:
    run = RunDirectory.create(storage.copy, MANIFEST.model_copy(update={"run_id": run_id}))
    session = SessionRecord(started=1, manifest_sha256="0", machine="m", python="3", concurrency=1)
    run.append_session(session)
    return run


def work(trial: TrialDirectory, text: str = "what was done") -> Path:
    directory = trial.start_try()
    (directory.path / "trajectory.jsonl").write_text(text)
    (directory.artifacts / "note").write_text("kept")
    return directory.path


def finish(trial: TrialDirectory, text: str = "what was done") -> None:
    path = work(trial, text)
    number = int(path.name)
    trial.append_verdict(
        Verdict(
            number=trial.next_verdict_number(), try_number=number, verifier="official", verifier_version="1",
            status="graded", reward=1, resolved=True, started=1, ended=2,
        )
    )  # fmt: skip
    trial.tries()[-1].write_end(
        TryEnd(task_id=trial.task_id, attempt=1, number=number, outcome=Outcome(exit="finished"), started=1, ended=2)
    )


def test_what_one_machine_has_done_another_one_sees(here: SharedStorage, there: SharedStorage) -> None:
    run = begin(here)
    finish(run.trial("a", 1))
    here.send(run.path)

    there.bring()
    assert tree(there.copy / "run") == tree(run.path)
    assert RunDirectory.open(there.copy / "run").trials()[0].verdicts()[0].resolved
    assert storage_of(RunDirectory.open(there.copy / "run")) == there


def test_a_try_that_is_not_over_is_not_sent_nor_what_is_of_one_process(
    here: SharedStorage, there: SharedStorage
) -> None:
    run = begin(here)
    finish(run.trial("a", 1))
    work(run.trial("b", 1))
    for name in ("lock", "live.json", "control.jsonl", ".sessions.jsonl.1234"):
        (run.path / name).write_text("mine")
    here.send(run.path)

    there.bring()
    brought = tree(there.copy / "run")
    assert brought == {
        name: data
        for name, data in tree(run.path).items()
        if "b-" not in name and Path(name).name not in ("lock", "live.json", "control.jsonl", ".sessions.jsonl.1234")
    }


def test_the_end_of_a_try_comes_last(here: SharedStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = list[str]()
    put = SharedStorage._put  # pyright: ignore[reportPrivateUsage]

    def noted(storage: SharedStorage, files: Any, root: str, path: PurePosixPath) -> None:
        put(storage, files, root, path)
        sent.append(path.name)

    monkeypatch.setattr(SharedStorage, "_put", noted)
    run = begin(here)
    finish(run.trial("a", 1))
    here.send(run.trial("a", 1).path)
    assert sent[-1] == "end.json"
    assert {"sessions.jsonl", "1.json", "trajectory.jsonl"} <= set(sent[:-1])
    sent.clear()
    here.send(run.trial("a", 1).path)
    assert sent == ["sessions.jsonl"]


def test_only_what_is_named_is_brought(here: SharedStorage, there: SharedStorage) -> None:
    for name in ("20260101-one", "20260102-two"):
        here.send(begin(here, name).path)
    there.bring(["two"])
    assert [path.name for path in there.copy.iterdir() if path.is_dir()] == ["20260102-two"]
    there.bring([])
    there.bring(["20260101"])
    assert len([path for path in there.copy.iterdir() if path.is_dir()]) == 2


def test_a_trial_that_two_machines_have_done_is_set_aside_and_not_mixed(
    here: SharedStorage, there: SharedStorage
) -> None:
    run = begin(here)
    here.send(run.path)
    there.bring()
    other = RunDirectory.open(there.copy / "run")
    work(other.trial("a", 1), "begun, and killed")
    finish(other.trial("b", 1), "alone")
    finish(run.trial("a", 1), "done meanwhile")
    here.send(run.path)

    there.bring()
    assert tree(other.trial("a", 1).path) == tree(run.trial("a", 1).path)
    (aside,) = (there.copy / "run" / "set-aside").iterdir()
    assert (aside / "tries" / "1" / "trajectory.jsonl").read_text() == "begun, and killed"
    assert (other.trial("b", 1).tries()[0].path / "trajectory.jsonl").read_text() == "alone"
    there.send(other.path)
    here.bring()
    assert here.copy.joinpath("run", "set-aside").exists() is False
    assert len(run.trial("b", 1).verdicts()) == 1


def test_a_run_that_another_machine_works_on_is_refused(here: SharedStorage, there: SharedStorage) -> None:
    run = begin(here)
    with run_at_work(run):
        there.bring()
        other = RunDirectory.open(there.copy / "run")
        with pytest.raises(RunBusyError, match=r"process \d+ on .* is at work on run run, and was heard of"), \
                run_at_work(other):  # fmt: skip
            pass
        finish(run.trial("a", 1))
    with run_at_work(other):
        finish(other.trial("b", 1))
    here.bring()
    assert [len(trial.verdicts()) for trial in run.trials()] == [1, 1]


def left(lock: object) -> None:
    """In the place of giving a lock up."""


@pytest.fixture
def dead(here: SharedStorage, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A run whose process was killed: its lock stays."""
    with monkeypatch.context() as patch:
        patch.setattr("results.shared_lock._Lock.give_up", left)
        run = begin(here)
        with run_at_work(run):
            pass
    return run


def test_the_lock_of_the_dead_holds_until_it_is_stale(
    dead: RunDirectory, there: SharedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.bring()
    other = RunDirectory.open(there.copy / "run")
    with pytest.raises(RunBusyError, match="the run is free 120 seconds after that"), run_at_work(other):
        pass
    with run_at_work(dead):  # in the same copy, whose own lock says that the other is gone
        pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("results.shared_lock._Lock.give_up", left)
        with run_at_work(dead):
            pass
    monkeypatch.setattr(shared_lock, "STALE_AFTER", 0)
    with run_at_work(other):
        pass


def test_who_was_not_heard_of_learns_that_another_one_has_the_run(
    here: SharedStorage, there: SharedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_lock, "REFRESHED_EVERY", 0.05)
    here.send(begin(here).path)
    lost = threading.Event()
    with shared_lock.shared_lock(here, "run", lost.set):
        assert not lost.wait(0.3)
        held = there.copy / "run" / "held.json"
        there.bring()
        held.write_text(json.dumps({"mark": "theirs", "copy": "there", "who": "another", "time": 1}))
        files, root = there.open()
        for _ in range(100):  # it may be just about to refresh its own
            files.put_file(str(held), f"{root}/run/held.json")
            if lost.wait(0.2):
                break
    assert lost.is_set()
    assert json.loads(files.cat_file(f"{root}/run/held.json"))["mark"] == "theirs"


@pytest.mark.parametrize("stated", ["nowhere://x/y", "s3://no-such-bucket-here/x"])
def test_a_storage_that_cannot_be_used_is_named(
    stated: str, tmp_path: Path, s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)

    def use() -> None:
        storage = SharedStorage.at(stated, tmp_path)
        storage.send(begin(storage).path)

    with pytest.raises(SharedStorageError, match=stated):
        use()


def test_what_is_a_url() -> None:
    assert is_url("s3://bucket/x")
    assert is_url("file:///tmp/x")
    assert not is_url("/tmp/x")
    assert not is_url("C:/x")

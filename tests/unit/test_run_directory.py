"""The layout of a run on disk: written whole, never overwritten, found by name, readable for ever."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from results.record_files import DamagedFileError
from results.records import FORMAT
from results.records.manifest import (
    AgentDescription,
    BenchmarkDescription,
    Group,
    LimitsDescription,
    Manifest,
    SessionRecord,
)
from results.records.outcome import Outcome, TryEnd
from results.records.verdict import Verdict
from results.run_directory import (
    RunDirectory,
    RunExistsError,
    RunNotFoundError,
    default_runs_directory,
    find_run,
    list_groups,
    list_runs,
    new_run_id,
    task_slug,
    write_group,
)
from results.score import trial_results
from results.trajectory import read_trajectory

DATA = Path(__file__).parents[1] / "data"
GOLDEN = {1: DATA / "golden_run_format_1", 2: DATA / "golden_run_format_2"}
"""A run of every format that there has been."""


def manifest(run_id: str = "20261122-125800-demo-3f9a", attempts: int = 1) -> Manifest:
    return Manifest(
        run_id=run_id,
        benchmark=BenchmarkDescription(
            name="demo", source="bundled", content_sha256="0" * 64, task_ids=["zeta__z-1", "alpha__a-2"]
        ),
        attempts=attempts,
        agent=AgentDescription(name="default"),
        harness_version="0.1.0",
    )


def verdict(number: int, *, resolved: bool = True) -> Verdict:
    return Verdict(
        number=number,
        try_number=1,
        verifier="official",
        verifier_version="swebench 5.0.2",
        status="graded",
        reward=float(resolved),
        resolved=resolved,
        started=1.0,
        ended=2.0,
    )


def try_end(number: int = 1, detail: str = "") -> TryEnd:
    outcome = Outcome(exit="finished", detail=detail)
    return TryEnd(task_id="zeta__z-1", attempt=1, number=number, outcome=outcome, started=1.0, ended=2.0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_run_reads_back_as_it_was_created(tmp_path: Path) -> None:
    created = RunDirectory.create(tmp_path, manifest())
    assert RunDirectory.open(created.path).manifest == created.manifest == manifest()
    assert names(created.path) == ["run.json"]


def test_a_run_is_never_created_over_another(tmp_path: Path) -> None:
    first = RunDirectory.create(tmp_path, manifest())
    before = (first.path / "run.json").read_bytes()
    with pytest.raises(RunExistsError, match="20261122-125800-demo-3f9a"):
        RunDirectory.create(tmp_path, manifest(attempts=2))
    assert (first.path / "run.json").read_bytes() == before


@pytest.mark.parametrize("run_id", ["", "../elsewhere", "a/b", ".hidden", "groups", "a b"])
def test_an_id_that_is_no_file_name_is_refused(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(ValueError, match="cannot be the id of a run"):
        RunDirectory.create(tmp_path / "runs", manifest(run_id))
    assert list(tmp_path.iterdir()) == []


def test_trials_come_in_the_order_of_the_manifest_with_or_without_a_folder(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, manifest(attempts=2))
    run.trial("alpha__a-2", 2).start_try()
    expected = [("zeta__z-1", 1), ("zeta__z-1", 2), ("alpha__a-2", 1), ("alpha__a-2", 2)]
    assert [(trial.task_id, trial.attempt) for trial in run.trials()] == expected
    assert [len(trial.tries()) for trial in run.trials()] == [0, 0, 0, 1]


def test_a_try_is_open_until_its_end_is_written(tmp_path: Path) -> None:
    trial = RunDirectory.create(tmp_path, manifest()).trial("zeta__z-1", 1)
    started = trial.start_try()
    assert started.end() is None
    started.write_patch(b"diff --git \xff\r\n")
    started.write_end(try_end())
    assert trial.tries()[0].end() == try_end()
    assert started.patch_path.read_bytes() == b"diff --git \xff\r\n"
    assert names(started.path) == ["artifacts", "end.json", "patch.diff"]


def test_a_detail_with_half_a_surrogate_pair_is_kept(tmp_path: Path) -> None:
    started = RunDirectory.create(tmp_path, manifest()).trial("zeta__z-1", 1).start_try()
    started.write_end(try_end(detail="the server said \ud83d"))
    end = started.end()
    assert end is not None
    assert end.outcome.detail == "the server said \ud83d"


def test_tries_that_start_at_once_never_share_a_folder(tmp_path: Path) -> None:
    trial = RunDirectory.create(tmp_path, manifest()).trial("zeta__z-1", 1)
    with ThreadPoolExecutor(8) as pool:
        started = [pool.submit(trial.start_try) for _ in range(24)]
    assert sorted(one.result().number for one in started) == list(range(1, 25))
    assert [one.number for one in trial.tries()] == list(range(1, 25))  # in order as numbers: 10 after 9


def test_verdicts_are_appended_and_never_overwritten(tmp_path: Path) -> None:
    trial = RunDirectory.create(tmp_path, manifest()).trial("zeta__z-1", 1)
    assert trial.verdicts() == []
    first = trial.append_verdict(verdict(trial.next_verdict_number()))
    trial.append_verdict(verdict(trial.next_verdict_number(), resolved=False))
    with pytest.raises(FileExistsError):
        trial.append_verdict(verdict(1, resolved=False))
    assert [(one.number, one.resolved) for one in trial.verdicts()] == [(1, True), (2, False)]
    assert names(first.parent) == ["1.json", "2.json"]


def test_logs_of_a_grading_that_broke_off_are_not_mixed_with_those_of_the_next(tmp_path: Path) -> None:
    trial = RunDirectory.create(tmp_path, manifest()).trial("zeta__z-1", 1)
    number = trial.next_verdict_number()
    (trial.verdict_files(number) / "test_output.txt").write_text("half")
    assert trial.next_verdict_number() == number + 1
    assert trial.verdicts() == []
    trial.append_verdict(verdict(number))
    assert trial.verdicts() == [verdict(number)]


def test_a_half_written_file_under_a_temporary_name_is_no_record(tmp_path: Path) -> None:
    trial = RunDirectory.create(tmp_path, manifest()).trial("zeta__z-1", 1)
    trial.append_verdict(verdict(1))
    (trial.path / "verdicts" / ".2.json.abcd").write_text('{"number": 2')
    assert trial.next_verdict_number() == 2
    assert [one.number for one in trial.verdicts()] == [1]


def test_sessions_survive_a_start_that_was_killed_while_it_wrote(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, manifest())
    session = SessionRecord(started=1.0, manifest_sha256="0" * 64, machine="m", python="3.11", concurrency=4)
    run.append_session(session)
    with (run.path / "sessions.jsonl").open("ab") as file:
        file.write(b'{"started": 2.0, "mani')
    reports: list[str] = []
    assert run.sessions(reports.append) == [session]
    assert "sessions.jsonl ends in the middle of line 2" in reports[0]
    run.append_session(session)
    assert run.sessions() == [session, session]


def test_a_run_is_found_by_path_id_beginning_and_end(tmp_path: Path) -> None:
    first = RunDirectory.create(tmp_path, manifest("20261122-125800-demo-3f9a"))
    RunDirectory.create(tmp_path, manifest("20261123-090000-demo-77aa"))
    for name in [str(first.path), "20261122-125800-demo-3f9a", "20261122", "3f9a"]:
        assert find_run(tmp_path, name).path == first.path


def test_an_id_that_begins_another_is_found_by_itself(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, manifest("run"))
    RunDirectory.create(tmp_path, manifest("run-2"))
    assert find_run(tmp_path, "run").path.name == "run"


def test_a_name_that_finds_no_single_run_is_an_error_that_helps(tmp_path: Path) -> None:
    for run_id in ["20261122-125800-demo-3f9a", "20261122-125801-demo-77aa"]:
        RunDirectory.create(tmp_path, manifest(run_id))
    with pytest.raises(RunNotFoundError, match=r"could be any of 2 runs: .*77aa, .*3f9a"):
        find_run(tmp_path, "20261122")
    for name in ["nothing", "", "\0", "x" * 300]:
        with pytest.raises(RunNotFoundError, match=r"no run .*; `results list` shows"):
            find_run(tmp_path, name)
    with pytest.raises(RunNotFoundError, match="no run"):
        find_run(tmp_path / "absent", "20261122")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is damaged"),
        (b'{"run_id": "x"', "is damaged"),
        (b'{"run_id": "x"}', "is damaged: benchmark: Field required"),
        (b"\xff\xfe", "is damaged"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_damaged_run_is_reported_and_the_others_are_listed(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    RunDirectory.create(tmp_path, manifest("good"))
    broken = RunDirectory.create(tmp_path, manifest("broken"))
    broken.trial("zeta__z-1", 1).start_try()
    path = broken.path / "run.json"
    path.unlink() if content is None else path.write_bytes(content)
    found, damaged = list_runs(tmp_path)
    assert [run.path.name for run in found] == ["good"]
    assert len(damaged) == 1
    assert sentence in damaged[0]
    assert str(path) in damaged[0]
    with pytest.raises(RunNotFoundError, match=sentence):
        find_run(tmp_path, "broken")


def test_what_a_newer_version_wrote_is_refused_and_an_unknown_field_is_not(tmp_path: Path) -> None:
    path = RunDirectory.create(tmp_path, manifest()).path / "run.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"added_later": 1}))
    assert RunDirectory.open(path.parent).manifest == manifest()
    path.write_text(json.dumps(content | {"format": FORMAT + 1}))
    with pytest.raises(DamagedFileError, match="newer version"):
        RunDirectory.open(path.parent)


def test_runs_are_listed_newest_first_and_other_folders_are_none(tmp_path: Path) -> None:
    for run_id in ["20250101-000000-a-0000", "20270101-000000-b-0000", "20260101-000000-c-0000"]:
        RunDirectory.create(tmp_path, manifest(run_id))
    (tmp_path / "notes").mkdir()
    (tmp_path / "file.txt").touch()
    assert [run.path.name[:4] for run in list_runs(tmp_path).found] == ["2027", "2026", "2025"]
    assert list_runs(tmp_path).damaged == []
    assert list_runs(tmp_path / "absent") == ([], [])


def test_groups_are_written_whole_and_listed_newest_first(tmp_path: Path) -> None:
    old = Group(group_id="b-old", title="Old", created=1.0, run_ids=["x"])
    new = Group(group_id="a-new", title="New", created=2.0, run_ids=["y", "x"])
    for group in [old, new, old]:
        write_group(tmp_path, group)
    (tmp_path / "groups" / "bad.json").write_text("{")
    (tmp_path / "groups" / "a-new.html").touch()
    found, damaged = list_groups(tmp_path)
    assert found == [new, old]
    assert len(damaged) == 1
    assert list_runs(tmp_path) == ([], [])


def test_a_run_id_sorts_by_time_says_what_it_is_and_differs(tmp_path: Path) -> None:
    moment = datetime(2026, 11, 22, 12, 58, tzinfo=UTC)
    run_id = new_run_id("demo/Qwen 3: careful", moment)
    assert re.fullmatch(r"20261122-125800-demo-Qwen-3-careful-[0-9a-f]{4}", run_id)
    assert new_run_id("x", moment.astimezone(timezone(timedelta(hours=9)))).startswith("20261122-125800-x-")
    assert len({new_run_id("x") for _ in range(10)}) > 1


@given(label=st.text(max_size=200))
def test_any_label_makes_an_id_that_a_run_can_have(label: str) -> None:
    assert re.fullmatch(r"[0-9]{8}-[0-9]{6}-[A-Za-z0-9._-]{4,65}", new_run_id(label))


@given(one=st.text(st.characters(), max_size=120), other=st.text(st.characters(), max_size=120))
def test_slugs_are_safe_short_and_meet_only_for_the_same_task(one: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}", task_slug(one))
    assert (task_slug(one) == task_slug(other)) == (one == other)


def test_slugs_differ_where_a_file_system_ignores_case() -> None:
    assert task_slug("Repo__a-1").lower() != task_slug("repo__a-1").lower()
    assert task_slug("django__django-11099").startswith("django__django-11099-")


def test_runs_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("UNBROKEN_RUNS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_runs_directory() == tmp_path / ".local" / "share" / "unbroken" / "runs"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_runs_directory() == tmp_path / "data" / "unbroken" / "runs"
    monkeypatch.setenv("UNBROKEN_RUNS", str(tmp_path / "runs"))
    assert default_runs_directory() == tmp_path / "runs"


def holds(read: Any, written: Any) -> bool:
    """Whether what was read says everything that was written; a later version may say more."""
    match written:
        case dict():
            entries = cast("dict[str, Any]", written).items()
            return isinstance(read, dict) and all(name in read and holds(read[name], value) for name, value in entries)
        case list():
            values = cast("list[Any]", written)
            return len(read) == len(values) and all(holds(*pair) for pair in zip(read, values, strict=True))
        case _:
            return read == written


@pytest.mark.parametrize(("number", "files"), [(1, 1 + 2 + 1 + 3 + 3), (2, 1 + 2 + 1 + 1 + 2)])
def test_a_run_of_every_format_is_read_for_ever_and_nothing_of_it_is_lost(number: int, files: int):
    (run,) = list_runs(GOLDEN[number]).found
    read: list[tuple[BaseModel, bytes]] = [(run.manifest, (run.path / "run.json").read_bytes())]
    lines = (run.path / "sessions.jsonl").read_bytes().splitlines()
    read += zip(run.sessions(), lines, strict=True)
    for group in list_groups(GOLDEN[number]).found:
        read.append((group, (GOLDEN[number] / "groups" / f"{group.group_id}.json").read_bytes()))
    for trial in run.trials():
        read += [(one, (trial.path / "verdicts" / f"{one.number}.json").read_bytes()) for one in trial.verdicts()]
        for one in trial.tries():
            if end := one.end():
                read.append((end, (one.path / "end.json").read_bytes()))
    assert len(read) == files
    assert run.manifest.format == number
    for record, written in read:
        assert holds(record.model_dump(mode="json"), json.loads(written))


@pytest.mark.parametrize(("number", "more"), [(1, set[str]()), (2, {"segment", "notice"})])
def test_a_trajectory_of_every_format_is_read_for_ever_and_nothing_of_it_is_lost(number: int, more: set[str]):
    (run,) = list_runs(GOLDEN[number]).found
    path = run.trial("tiny__ledger-1", 1).tries()[0].trajectory_path
    events = list(read_trajectory(path))
    kinds = {"start", "message", "request", "retry", "response", "tool_result", "patch", "end"}
    assert {event.type for event in events} == kinds | more
    for event, line in zip(events, path.read_bytes().splitlines(), strict=True):
        assert holds(event.model_dump(mode="json"), json.loads(line))


@pytest.mark.parametrize(
    ("number", "states"), [(1, ["resolved", "not resolved", "error", "open"]), (2, ["resolved", "open"])]
)
def test_a_run_of_every_format_still_means_the_same(number: int, states: list[str]):
    (run,) = list_runs(GOLDEN[number]).found
    assert {run.manifest.sha256()} == {session.manifest_sha256 for session in run.sessions()}
    assert [result.state for result in trial_results(run)] == states


def test_the_hash_of_a_manifest_is_the_same_before_and_after_it_is_written(tmp_path: Path):
    created = RunDirectory.create(tmp_path, manifest())
    assert created.manifest.sha256() == RunDirectory.open(created.path).manifest.sha256()


def test_the_hash_of_a_manifest_is_that_of_what_defines_the_score(tmp_path: Path):
    one, same, other = manifest("one"), manifest("two"), manifest("one", attempts=2)
    assert one.sha256() == same.sha256()
    assert one.sha256() != other.sha256()
    limited = one.model_copy(update={"limits": LimitsDescription(on_context="compact")})
    assert RunDirectory.create(tmp_path, limited).manifest.sha256() != one.sha256()

"""What a run was, whole, and what differs between two: for a person, and for a program."""

import json
from pathlib import Path
from typing import Any

import pytest
from real_things import VENV, Console

from results.manifest_difference import Difference
from results.records.events import BackendDescription
from results.records.manifest import AgentDescription, BenchmarkDescription, Manifest, SessionRecord
from results.records.outcome import ErrorSource, Outcome, TryEnd
from results.records.verdict import Verdict
from results.run_directory import RunDirectory

EVALS = str(VENV / "bin" / "evals")


def begin(runs: Path, run_id: str, **changed: Any) -> RunDirectory:
    stated: dict[str, Any] = {
        "run_id": run_id,
        "benchmark": BenchmarkDescription(name="demo", source="here", content_sha256="0", task_ids=["a", "b", "c"]),
        "agent": AgentDescription(name="default", system_prompt="Be kind.\nBe brief.\n"),
        "backend": BackendDescription(base_url="http://here", model="qwen", dialect="vllm"),
        "sandbox": {"network": "none"},
        "harness_version": "0",
    }
    run = RunDirectory.create(runs, Manifest(**(stated | changed)))
    run.append_session(
        SessionRecord(started=1, manifest_sha256=run.manifest.sha256(), machine="a box", python="3", concurrency=7)
    )
    return run


def finish(run: RunDirectory, task_id: str, *, resolved: bool | None, error: ErrorSource | None = None) -> None:
    trial = run.trial(task_id, 1)
    directory = trial.start_try()
    if resolved is not None:
        trial.append_verdict(
            Verdict(
                number=1, try_number=1, verifier="official", verifier_version="1", status="graded",
                reward=float(resolved), resolved=resolved, started=1, ended=2,
            )
        )  # fmt: skip
    outcome = Outcome(exit="finished", error=error)
    image = f"sha256:{task_id}"
    directory.write_end(
        TryEnd(task_id=task_id, attempt=1, number=1, outcome=outcome, started=1, ended=2, image_id=image)
    )


def test_a_manifest_is_shown_whole(console: Console, tmp_path: Path) -> None:
    run = begin(tmp_path, "one")
    finish(run, "a", resolved=True)

    shown = console.run([EVALS, "manifest", "one", "--runs", str(tmp_path)])
    said = dict(line.split(maxsplit=1) for line in shown.out.splitlines() if not line.startswith((" ", "start")))

    assert shown.code == 0, shown
    expected = {
        "sha256": run.manifest.sha256(), "backend.model": "qwen", "backend.quantisation": "unknown",
        "limits.steps": "none", "images.a": "sha256:a",
    }  # fmt: skip
    assert {name: said[name].strip() for name in expected} == expected
    assert "start 1.concurrency" in shown.out


def test_a_manifest_is_shown_to_a_program(console: Console, tmp_path: Path) -> None:
    run = begin(tmp_path, "one")
    shown = json.loads(console.run([EVALS, "manifest", "one", "--runs", str(tmp_path), "--json"]).out)
    assert Manifest.model_validate(shown["manifest"]) == run.manifest
    assert (shown["sha256"], len(shown["starts"]), shown["images"]) == (run.manifest.sha256(), 1, {})


def test_runs_that_are_the_same_do_not_differ(console: Console, tmp_path: Path) -> None:
    for name in ("one", "two"):
        finish(begin(tmp_path, name), "a", resolved=True)
    done = console.run([EVALS, "diff", "one", "two", "--runs", str(tmp_path)])
    assert (done.code, done.out) == (
        0,
        "3 trials in both: 1 resolved in both, 0 only in the first, 0 only in the second, 2 in neither\n",
    ), done


def test_each_difference_is_named(console: Console, tmp_path: Path) -> None:
    one = begin(tmp_path, "one")
    two = begin(
        tmp_path, "two", attempts=2, agent=AgentDescription(name="default", system_prompt="Be kind.\nBe quick.\n")
    )
    finish(one, "a", resolved=True)
    finish(two, "a", resolved=False)
    finish(one, "b", resolved=None, error="sandbox")
    finish(two, "b", resolved=True)

    done = console.run([EVALS, "diff", "one", "two", "--runs", str(tmp_path)])

    assert done.code == 1
    assert done.out.splitlines() == [
        "attempts: 1 and 2",
        "agent.system_prompt:",
        *("  --- first", "  +++ second", "  @@ -1,2 +1,2 @@", "   Be kind.", "  -Be brief.", "  +Be quick."),
        "a: resolved and not resolved",
        "b: error: sandbox and resolved",
        "3 trials in both: 0 resolved in both, 1 only in the first, 1 only in the second, 1 in neither",
    ]
    told = json.loads(console.run([EVALS, "diff", "one", "two", "--runs", str(tmp_path), "--json"]).out)
    assert told["states"] == {"both": 0, "first": 1, "second": 1, "neither": 1}


@pytest.mark.parametrize("name", ["manifest", "diff"])
def test_a_run_that_is_not_there_is_said(console: Console, tmp_path: Path, name: str) -> None:
    begin(tmp_path, "one")
    done = console.run([EVALS, name, "gone", *(["one"] if name == "diff" else []), "--runs", str(tmp_path)])
    assert (done.code, "there is no run 'gone'" in done.err) == (2, True)


def test_lists_are_compared_by_what_only_one_of_them_has() -> None:
    assert Difference(key="tasks", first=["a", "b"], second=["b", "c"]).lines() == [
        "tasks:", "  only in the first: 'a'", "  only in the second: 'c'",
    ]  # fmt: skip
    assert Difference(key="tasks", first=["a", "b"], second=["b", "a"]).lines()[1] == "  the same in another order"


def session(run: RunDirectory, *command: str) -> None:
    run.append_session(
        SessionRecord(
            started=2, manifest_sha256=run.manifest.sha256(), machine="a box", python="3", concurrency=1,
            command=list(command), directory=None,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "command", "said"),
    [
        ("resume", (), "does not say with which command it was begun; give that command again with --run-id one"),
        ("resume", ("clean", "--all-hosts"), "says that it was begun with `evals clean`, which begins none"),
        ("resume", ("swebench", "--backend", "https://me:[redacted]@here"), "held a secret, which is not recorded"),
        ("replay", ("swebench", "--mcp", "x=touch /tmp/x"), "starts MCP servers that its manifest does not have"),
    ],
)
def test_a_command_that_somebody_recorded_is_not_simply_run(
    console: Console, tmp_path: Path, name: str, command: tuple[str, ...], said: str
) -> None:
    run = begin(tmp_path, "one")
    if command:
        session(run, *command)
    done = console.run([EVALS, name, "one", "--runs", str(tmp_path)])
    assert (done.code, said in done.err) == (2, True), done


def test_an_agent_with_tools_of_servers_is_not_replayed(console: Console, tmp_path: Path) -> None:
    session(begin(tmp_path, "one", agent=AgentDescription(name="default", mcp=[{"name": "x"}])), "swebench")
    done = console.run([EVALS, "replay", "one", "--runs", str(tmp_path)])
    assert (done.code, "had tools of MCP servers" in done.err) == (2, True), done

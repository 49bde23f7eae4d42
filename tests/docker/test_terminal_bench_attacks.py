"""What an agent does to its container cannot win it another try, or break the harness: the tests judge it all the same.

The agent is each task's own solution: it is root in its container, as most agents are.
"""

import json
from pathlib import Path

import pytest
from real_things import Console
from terminal_bench_desk import Judge, judge_with, only_end, only_verdict

from results.run_directory import TrialDirectory

RESULT = "echo $((!$?)) >/logs/verifier/reward.txt"
ENDING_ALL = """cat >/tmp/ending.py <<'PROGRAM'
import os, signal
while True:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, os.getpid()):
            try:
                os.kill(int(name), signal.SIGKILL)
            except OSError:
                pass
PROGRAM
setsid python3 /tmp/ending.py & sleep 5"""
RESIZING = """cd /logs/artifacts
for name in a b c d; do (while :; do truncate -s 200M $name; truncate -s 0 $name; done) & done
disown -a; sleep 1"""


@pytest.fixture
def judge(console: Console, tmp_path: Path) -> Judge:
    return judge_with(console, tmp_path)


def artifacts(trial: TrialDirectory) -> dict[str, tuple[str, str]]:
    listed = json.loads((trial.tries()[-1].artifacts / "manifest.json").read_text())
    return {one["source"]: (one["status"], one["detail"]) for one in listed}


def test_what_keeps_the_work_from_being_collected_is_judged_all_the_same(judge: Judge) -> None:
    trials = judge(
        ending=ENDING_ALL,
        resizing=RESIZING,
        huge="truncate -s 9T /logs/artifacts/huge",
        in_the_way={"solution": "echo >/logs/artifacts/out", "first": 'artifacts = ["/logs/artifacts/out/report"]'},
    )

    for name, trial in trials.items():
        verdict = only_verdict(trial)
        assert (only_end(trial).outcome.error, verdict.status, verdict.reward) == (None, "graded", 0), name
    assert artifacts(trials["ending"])["/logs/artifacts"][0] == "failed"
    status, detail = artifacts(trials["huge"])["/logs/artifacts"]
    assert (status, "more than the 4294967296 bytes" in detail) == ("failed", True)
    assert not (trials["huge"].tries()[-1].artifacts / "logs" / "artifacts").exists()
    assert artifacts(trials["in_the_way"])["/logs/artifacts/out/report"][0] == "missing"


def test_programs_behind_links_are_flagged_and_folders_of_the_format_stay(judge: Judge) -> None:
    renewed = "rm -rf /logs/artifacts /logs/agent; mkdir -p /logs/artifacts; echo mine >/logs/artifacts/file"
    trials = judge(
        folder="cp -a /usr/bin /opt/other; ln -sfn /opt/other /bin",
        alternative="cp -a /usr/bin/mawk /opt/mawk; ln -sfn /opt/mawk /etc/alternatives/awk",
        renewed={"solution": renewed, "test": f"grep -qx mine /logs/artifacts/file; {RESULT}"},
    )

    assert "programs:/bin/" in only_verdict(trials["folder"]).flags
    assert "programs:/usr/bin/awk" in only_verdict(trials["alternative"]).flags
    assert (only_verdict(trials["renewed"]).reward, only_verdict(trials["renewed"]).flags) == (1, [])

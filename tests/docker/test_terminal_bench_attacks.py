"""What an agent does to its container cannot win it another try, or break the harness: the tests judge it all the same.

The agent is each task's own solution: it is root in its container, as most agents are.
"""

import json
import platform
from pathlib import Path

import pytest
from real_things import Console
from terminal_bench_desk import Judge, judge_with, only_end, only_verdict

from results.run_directory import TrialDirectory

# For x86-64: `__attribute__((constructor)) static void f(void) { if (!access("/logs/.room", 0))
# unlink("/etc/ld.so.preload"); }`, which takes its own trace away once it is in the room.
HIDING = (
    "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4DWvA3ldAD+RRYRoPYmm2orhgzJO8e3vZxg+um0hBKkM2V/aifSbiT0m+WvPzb66oUkT"
    "fb7q7lzqryqflaQLmrRUmu4n78Ab0KC97hpG5pKUVYXyNYkoiQv8E+iUOg64UYGng3Uy7TGsw+5mQlzKyETqBubeRwYZLn9YX6uk"
    "x0VFAa5WL7n5RmS33qAsVj8ctGcDfJnBn8Txtk6t24c+RJONH08hCC9pdRc9NXQpHPpJGmPplE6T+U4syZ5TIueLaiSkhIvx9XCZ"
    "KDMeypAuOdxg+Rl9iQcU85l8ZrwCtkhwTj/nKN4dM13B3bjwV916+U8dB+foKhndi26Ehch3LPFsFMKySCKn8pFyrVxN1113vMtt"
    "CXSKv7CIFzboaCzIGGeHJ97rD92ZE2I3YZvCMernojJ3+L79bU2aqyBacmTTR7EcO5Uuc9TOuBmhxAPudEJV7pHklkL8d16w8Grf"
    "EV3dq/XH2dRRM55/ejjfWpsd0sZMUxoQ9VhhQxDydMz2NBkgf+F/mp4dn2qqN7MUepIDyScR88ycgEKrmSffPrw42j+mf+DWpbPZ"
    "zTlorpMetki3WKUBV+VGaiYujf0Gc3QERuEtpO3l8JsS04y8V1IYcWIRWNjezW4g6smQvjZOUtu2ClppBAIaFNa+Cd7sj8ZhfwJ+"
    "WmBU/I4sYDsQq63YrqprANK6d9xK0GYhLo1oA8+bSHZqLdyvivA6LjNFQlTYw3hfCFpHEKuBu11rIcwPOLVUj/qbe5R8Z+VWkkob"
    "JfONsNNUwt1cPmSjAI4HNfkm5BRmIDmj/R4VGxq3gqDc7RlpqIAESYzx3yZMZau/nqYnnqKa/OMp3O48xTAG5wXZCdLaMIqAVklC"
    "SFxGaxKiSp6N/pAJCQs/aH1OdCnZLRBtjLjPtymxKf23lTAC32l009oYEX5oRKjX+91SJ8p3zLG3EXp6Gr+VJJ0lDK2SJNWnPylE"
    "0qBwdHqECOaq+Z2BrG9tpXNpAPPq7fY6uvE+F0Nj5KIXN4Wu24AzA1wVO4I5khGiJ3UEweFHWvUKphaFq9Wox79aEA9XfpJ6iIa2"
    "aQMZI9nGj2e0TwHUkW9AX12jEehXar+xVjjzzNnk8GTSJLZLD6kOi7D8yRh2YSVBPVioq8oypYj+SbBKSq6mTX6d89gnMWp2AfKU"
    "WITx5ALyjDQrSAkTTvaufOLe8yUAAAAAoTOOKcgce1sAAZUHsGsAAGblLmWxxGf7AgAAAAAEWVo="
)
PRELOADED = f"""python3 -c 'import base64, lzma
open("/opt/hiding.so", "wb").write(lzma.decompress(base64.b64decode("{HIDING}")))'
echo /opt/hiding.so >/etc/ld.so.preload"""
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
        preloaded=PRELOADED,
        renewed={"solution": renewed, "test": f"grep -qx mine /logs/artifacts/file; {RESULT}"},
    )

    assert "programs:/bin/" in only_verdict(trials["folder"]).flags
    if platform.machine() == "x86_64":
        assert only_verdict(trials["preloaded"]).flags == ["programs:/etc/ld.so.preload"]
    assert "programs:/usr/bin/awk" in only_verdict(trials["alternative"]).flags
    assert (only_verdict(trials["renewed"]).reward, only_verdict(trials["renewed"]).flags) == (1, [])

"""The patch of a trial holds the agent's work without what its tools left behind, and the record says what that was."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from docker import DockerClient
from real_things import VENV, Console, calls

from agent import litter
from agent.workspace import Diff, Workspace, WorkspaceError
from evals.swebench.dataset import Row
from results.records.events import PatchEvent
from results.run_directory import TryDirectory, list_runs
from results.trajectory import read_trajectory
from runners.docker_sandbox import ContainerSettings, DockerSandbox

BEFORE = r"""
git config user.name A; git config user.email a@example.org
mkdir -p src/pkg vendor fixtures/node_modules/a build 'odd [x]'
printf '[project]\nname = "thing"\n' >setup.cfg
echo 'one = 1' >src/pkg/__init__.py
echo '*.log' >.gitignore; echo 'generated_*' >src/.gitignore; echo '*.private' >>.git/info/exclude
echo 1 >vendor/forced.log; echo 1 >fixtures/node_modules/a/index.js
git add --all; git add --force vendor/forced.log; git commit --quiet -m state
echo 1 >was-there.log
"""
WORK = r"""
echo 'one = 2' >src/pkg/__init__.py; echo 'new = 1' >src/pkg/new.py; echo 2 >vendor/forced.log
ln -s /nowhere link; printf '\000\001' >picture.png
echo 2 >'odd [x]/größe 1.py'; echo 2 >'two
lines.py'; echo 2 >fixtures/node_modules/a/new.js; echo 2 >build/rules.py
python3 -m compileall -q src
mkdir -p src/thing.egg-info .pytest_cache/v build/lib/pkg build/bdist.linux-x86_64 node_modules/b
echo 'Name: thing' >src/thing.egg-info/PKG-INFO; echo pkg >src/thing.egg-info/top_level.txt
echo x >.pytest_cache/v/x; echo x >node_modules/b/i.js
cp src/pkg/*.py build/lib/pkg/; echo x >build/bdist.linux-x86_64/x
echo x >a.log; echo x >src/generated_x; echo x >my.private
python3 -m venv --without-pip env; rm -f env/.gitignore
"""
MORE = "python3 -m compileall -q . ; mkdir node_modules; touch node_modules/a"
KEPT = ["build/rules.py", "fixtures/node_modules/a/new.js", "link", "odd [x]/größe 1.py", "picture.png",
        "src/pkg/__init__.py", "src/pkg/new.py", "two\nlines.py", "vendor/forced.log"]  # fmt: skip
PLAIN = [name for name in KEPT if name.isascii() and name.isprintable() and name not in ("link", "vendor/forced.log")]
LEFT_OUT = {
    "build/lib/": litter.COPIED,
    "build/bdist.linux-x86_64/": litter.BUILT,
    "env/": litter.ENVIRONMENT,
    ".pytest_cache/": "what pytest remembers",
    "a.log": litter.IGNORED,
    "my.private": litter.IGNORED,
    "node_modules/": "packages that npm and its like installed",
    "src/generated_x": litter.IGNORED,
    "src/pkg/__pycache__/": "compiled modules of Python",
    "src/thing.egg-info/": "what `pip install` notes about the package",
}


@pytest.fixture
async def sandbox(client: DockerClient) -> AsyncIterator[DockerSandbox]:
    settings = ContainerSettings(image="unbroken/base:1", directory="/srv/repository", run="test-harvest")
    opened = await DockerSandbox.start(client, settings)
    yield opened
    await opened.close()


async def run(sandbox: DockerSandbox, script: str) -> str:
    done = await sandbox.exec(f"set -e\n{script}", timeout=120)
    assert done.exit_code == 0, done.output.decode()
    return done.output.decode()


async def harvested(sandbox: DockerSandbox) -> Diff:
    await run(sandbox, f"git init --quiet .\n{BEFORE}")
    workspace = Workspace(sandbox)
    base = await workspace.snapshot()
    await run(sandbox, WORK)
    return await workspace.diff(base)


async def test_build_litter_in_a_container_is_left_out_and_all_work_is_there(sandbox: DockerSandbox) -> None:
    diff = await harvested(sandbox)
    assert {left.name: left.reason for left in diff.left_out} == LEFT_OUT
    everything = await run(sandbox, "ls build/lib/pkg env .pytest_cache a.log")
    assert "new.py" in everything  # nothing was deleted
    await run(sandbox, "git clone --quiet . /srv/clone")
    applied = await sandbox.exec("cd /srv/clone && git apply --binary -", timeout=60, stdin=diff.patch)
    assert applied.exit_code == 0, applied.output.decode()
    listed = await run(sandbox, "cd /srv/clone && git add --all --force && git diff --cached --name-only -z HEAD")
    assert listed.split("\0")[:-1] == KEPT


COLLECT = "git commit --quiet --all --amend -m x; git reflog expire --expire=now --all; git gc --quiet --prune=now"


async def prepared(sandbox: DockerSandbox) -> tuple[Workspace, str]:
    """The repository, with a copy of it as it was."""
    await run(sandbox, f"git init --quiet .\n{BEFORE}\necho 1 >untracked; cp -a . /srv/copy")
    workspace = Workspace(sandbox)
    return workspace, await workspace.snapshot()


@pytest.mark.parametrize("damage", ["rm -rf .git", "rm -rf .git; git init --quiet .", COLLECT])
async def test_work_in_a_container_is_harvested_without_the_repository_s_own_data(
    sandbox: DockerSandbox, damage: str
) -> None:
    workspace, base = await prepared(sandbox)
    await run(sandbox, f"{WORK}\necho 2 >untracked; rm vendor/forced.log\n{damage}")
    diff = await workspace.diff(base)
    applied = await sandbox.exec("cd /srv/copy && git apply -", timeout=60, stdin=diff.patch)
    assert applied.exit_code == 0, applied.output.decode()
    await run(sandbox, "cd /srv/copy; [ ! -e vendor/forced.log ]; grep 2 untracked; [ -L link ]; [ ! -e a.log ]")
    await run(sandbox, f"for file in {' '.join(PLAIN)}; do cmp $file /srv/copy/$file; done")


async def test_work_in_a_container_is_harvested_without_our_folder(sandbox: DockerSandbox) -> None:
    workspace, base = await prepared(sandbox)
    await run(sandbox, f"echo 2 >new.py; echo 2 >untracked; echo >.gitignore; rm -rf {sandbox.scratch_directory}")
    diff = await workspace.diff(base)
    headers = [line for line in diff.patch.decode().splitlines() if line.startswith("diff --git ")]
    assert headers == [f"diff --git a/{name} b/{name}" for name in (".gitignore", "new.py", "untracked")]
    assert diff.left_out == (litter.LeftOut("was-there.log", litter.IGNORED_BEFORE),)


async def test_container_in_which_both_are_gone_is_told_in_a_sentence(sandbox: DockerSandbox) -> None:
    workspace, base = await prepared(sandbox)
    await run(sandbox, f"echo 2 >new.py; rm -rf .git {sandbox.scratch_directory}")
    with pytest.raises(WorkspaceError, match=r"cannot be told from what was there before: .* is gone as well"):
        await workspace.diff(base)


def only_try(runs: Path) -> TryDirectory:
    (one,) = list_runs(runs).found
    (trial,) = one.trials()
    return trial.tries()[-1]


def evaluate(console: Console, row: Row, backend: str, tmp_path: Path) -> TryDirectory:
    dataset, runs = tmp_path / "rows.json", tmp_path / "runs"
    dataset.write_text(json.dumps([row.model_dump(mode="json")]))
    options = ["--dataset", str(dataset), "--backend", backend, "--runs", str(runs), "--verdicts", "official"]
    done = console.run([str(VENV / "bin" / "evals"), "swebench", *options, "--prompt", "mini"])
    assert done.code == 0, done.err
    (one,) = list_runs(runs).found
    assert (one.manifest.agent.prompt, one.manifest.agent.prompt_version) == ("mini", 1)
    return only_try(runs)


def test_a_trial_records_what_is_not_in_its_patch(
    demo_rows: dict[str, Row], console: Console, tmp_path: Path, write_script: Callable[..., str]
) -> None:
    row = demo_rows["lapse"]
    work = f"git apply <<'PATCH_END'\n{row.patch}\nPATCH_END\n{MORE}"
    directory = evaluate(console, row, write_script(calls(work), {"content": "Done."}), tmp_path)
    (event,) = [event for event in read_trajectory(directory.trajectory_path) if isinstance(event, PatchEvent)]
    assert event.left_out_names["node_modules/"] == "packages that npm and its like installed"
    assert any(name.endswith("__pycache__/") for name in event.left_out_names)
    assert "node_modules" not in directory.patch_path.read_text()
    end = directory.end()
    assert end is not None
    assert end.outcome.counts["left_out"] == event.left_out == len(event.left_out_names)


def test_a_patch_that_is_too_large_is_judged_as_an_empty_one_and_says_so(
    demo_rows: dict[str, Row], console: Console, tmp_path: Path, write_script: Callable[..., str]
) -> None:
    backend = write_script(calls("head -c 70000000 /dev/urandom >data.bin"), {"content": "Done."})
    directory = evaluate(console, demo_rows["lapse"], backend, tmp_path)
    end = directory.end()
    assert end is not None
    assert (end.outcome.exit, end.outcome.error) == ("finished", None)
    assert "judged as an empty patch: the diff is larger than 67,108,864 bytes" in end.outcome.detail
    assert "data.bin (70,000,000 bytes)" in end.outcome.detail
    assert directory.patch_path.read_bytes() == b""
    assert directory.path.parents[1].joinpath("tries", "1").exists()
    assert not directory.path.parents[1].joinpath("tries", "2").exists()

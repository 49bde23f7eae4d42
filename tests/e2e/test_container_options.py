"""What is said about containers on the command line and makes no sense is refused, before anything starts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from real_things import VENV, Console, GitRepository

DOCKER = ["--sandbox", "docker:unbroken/base:1"]
WRONG = {
    "network that is none": (["--network", "host"], ["--network", "none, bridge, allowlist"]),
    "allowlist of nothing": (["--network", "allowlist"], ["--network", "--allow-host HOST"]),
    "hosts without an allowlist": (["--allow-host", "pypi.org"], ["--allow-host", "--network allowlist"]),
    "address as a host": (
        ["--network", "allowlist", "--allow-host", "https://pypi.org"],
        ["--allow-host", "'https://pypi.org'", "without http://"],
    ),
    "block with bits to spare": (
        ["--network", "allowlist", "--allow-host", "10.0.0.1/8"],
        ["--allow-host", "did you mean 10.0.0.0/8?"],
    ),
    "memory that is none": (["--memory", "plenty"], ["--memory", "'plenty'", "4g"]),
    "disk that is none": (["--disk", "-1g"], ["--disk", "'-1g'", "4g"]),
    "no processors": (["--cpus", "0"], ["--cpus", "0"]),
    "endless processors": (["--cpus", "inf"], ["--cpus", "no number of processors"]),
    "no processes": (["--processes", "0"], ["--processes", "equal to 1"]),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("command", ["agent", "evals"])
def test_what_makes_no_sense_is_refused(
    console: Console,
    repository: GitRepository,
    tmp_path: Path,
    write_script: Callable[..., str],
    case: str,
    command: str,
):
    options, words = WRONG[case]
    backend = ["--backend", write_script({"content": "done"})]
    if command == "agent":
        done = console.agent("run", "x", *backend, *DOCKER, *options, cwd=repository.path)
    else:
        (tmp_path / "rows.json").write_text("[]")
        rows = ["--dataset", str(tmp_path / "rows.json")]
        done = console.run([str(VENV / "bin" / "evals"), "swebench", *rows, *backend, *options])
    assert (done.code, done.out) == (2, ""), done.err
    assert "Traceback" not in done.err
    said = " ".join(done.err.split())
    for word in words:
        assert word in said
    assert not (console.home / "data").exists()


@pytest.mark.parametrize("option", [
    ["--network", "none"], ["--allow-host", "a.test"], ["--cpus", "1"], ["--memory", "1g"], ["--disk", "1g"],
    ["--processes", "9"],
])  # fmt: skip
def test_this_machine_has_no_limits_to_set(console: Console, repository: GitRepository, option: list[str]):
    done = console.agent("run", "x", *option, cwd=repository.path)
    assert done.code == 2
    said = " ".join(done.err.split())
    assert option[0] in said
    assert "only containers have it: --sandbox docker:IMAGE" in said


def test_a_preset_for_containers_needs_one(console: Console, repository: GitRepository):
    preset = ["--preset", "qwen3.6-terminal-bench"]
    for sandbox, missing in (([], ["cpus 32", "memory_gib 48"]), (DOCKER, [])):
        done = console.agent("run", "x", *preset, *sandbox, cwd=repository.path)
        assert done.code == 2
        said = " ".join(done.err.split())
        assert [words for words in ("cpus 32", "memory_gib 48") if words in said] == missing
        assert "agent terminus" in said

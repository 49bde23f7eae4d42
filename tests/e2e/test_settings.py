"""Profiles, presets and prices on the command line: what is asked for is sent and recorded with where it comes from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_things import VENV, Console, GitRepository

WriteScript = Callable[..., str]
DONE = {"content": "done"}


def worked(console: Console, repository: GitRepository, script: str, *options: str | Path) -> list[dict[str, Any]]:
    """The events of a task on the repository."""
    done = console.agent("run", "x", "--json", "--backend", script, *options, cwd=repository.path)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_a_preset_is_sent_and_recorded_value_by_value(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    options = ["--preset", "qwen3.6-swebench", "--temperature", "0.2", "--quantisation", "Q4_K_M"]
    start = worked(console, repository, write_script(DONE), *options)[0]
    backend = start["backend"]
    assert (backend["preset"], backend["quantisation"], backend["context_window"]) == (
        *("qwen3.6-swebench", "Q4_K_M", 204_800),
    )
    assert (backend["sampling"]["temperature"], backend["sampling"]["top_p"]) == (0.2, 0.95)
    assert backend["stated"]["temperature"] == "ours: given on the command line"
    assert backend["stated"]["top_p"].startswith("published: ")
    assert start["toolset"] == "bash+editor"


def test_without_any_of_them_sampling_is_the_servers_own(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    backend = worked(console, repository, write_script(DONE))[0]["backend"]
    assert "temperature" not in backend["sampling"]
    assert not {"temperature", "top_k", "thinking"} & backend["stated"].keys()


def test_a_mode_without_thinking_asks_for_none(console: Console, repository: GitRepository, write_script: WriteScript):
    options = ["--profile", "qwen3.6-35b-a3b", "--mode", "instruct"]
    backend = worked(console, repository, write_script(DONE), *options)[0]["backend"]
    assert (backend["profile"], backend["mode"]) == ("qwen3.6-35b-a3b", "instruct")
    assert backend["sampling"]["temperature"] == 0.7
    assert backend["sampling"]["chat_template_kwargs"]["enable_thinking"] is False


def test_hardware_has_a_cost_by_the_hour(console: Console, repository: GitRepository, write_script: WriteScript):
    end = worked(console, repository, write_script(DONE), "--hour-price", "2")[-1]
    assert 0 < end["outcome"]["cost"] < 0.1


def test_a_profile_of_ones_own_is_used(console: Console, repository: GitRepository, write_script: WriteScript):
    folder = console.home / "config" / "unbroken" / "profiles"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(
        'name = "mine"\ntitle = "Mine"\ndefault_mode = "plain"\n'
        'context = { native = { value = 4096, ours = "measured" } }\n'
        '[modes.plain]\ntitle = "Plain"\nthinking = { value = true, ours = "it can" }\n'
        'sampling = { top_k = { value = 7, ours = "a guess" } }\n'
    )
    script = write_script(DONE)
    console.environment["XDG_CONFIG_HOME"] = str(console.home / "config")
    backend = worked(console, repository, script, "--profile", "mine")[0]["backend"]
    assert backend["sampling"]["top_k"] == 7
    assert "mine (your own)" in console.agent("config", "show").out


REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "preset that is none": (["--preset", "best"], ["'best'", "qwen3.6-swebench"]),
    "preset that asks for too much": (
        ["--preset", "qwen3.6-terminal-bench"],
        ["--preset", "agent terminus", "attempts 5", "cpus 32", "memory_gib 48", "cannot do yet"],
    ),
    "profile that is none": (["--profile", "gpt"], ["'gpt'", "qwen3.6-27b"]),
    "mode without a profile": (["--mode", "coding"], ["--mode coding", "--profile"]),
    "mode that is none": (["--profile", "qwen3.6-27b", "--mode", "fast"], ["'fast'", "instruct"]),
    "watts alone": (["--watts", "300"], ["--watts", "kilowatt-hour"]),
    "picture that is not there": (["--image", "no.png"], ["--image", "no.png", "No such file"]),
    "context limit": (["--on-context-limit", "panic"], ["--on-context-limit", "stop", "compact"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_before_anything_starts(
    console: Console, repository: GitRepository, write_script: WriteScript, case: str
):
    options, words = REFUSED[case]
    done = console.agent("run", "x", "--backend", write_script(DONE), *options, cwd=repository.path)
    assert (done.code, done.out) == (2, ""), done.err
    assert "Traceback" not in done.err
    said = " ".join(done.err.split())
    for word in words:
        assert word in said
    assert not (console.home / "data").exists()


def test_evals_refuse_a_preset_that_they_cannot_carry_out(console: Console, tmp_path: Path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    command = [str(VENV / "bin" / "evals"), "swebench", "--dataset", str(rows), "--preset", "qwen3.6-terminal-bench"]
    done = console.run(command)
    assert done.code == 2
    said = " ".join(done.err.split())
    assert "agent terminus, which this command cannot do yet" in said
    assert "attempts" not in said.partition("asks for")[2]


def test_a_profile_is_shown_with_the_source_of_each_value(console: Console):
    shown = console.agent("config", "show", "qwen3.6-35b-a3b")
    assert shown.code == 0, shown.err
    lines = {line.split()[0]: line for line in shown.out.splitlines()}
    assert (
        "1.5  (published: model card of Qwen3.6-35B-A3B: thinking" in lines["modes.thinking.sampling.presence_penalty"]
    )
    assert "0.0  (ours: the card is silent" in lines["modes.agentic.sampling.presence_penalty"]


def test_the_key_is_never_shown(console: Console):
    shown = console.agent("config", "show", UNBROKEN_API_KEY="sk-very-secret")
    assert "UNBROKEN_API_KEY is set" in shown.out
    assert "sk-very-secret" not in shown.out

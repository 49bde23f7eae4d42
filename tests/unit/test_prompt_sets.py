"""Prompt sets: data with a name, a version and a hash; what is wrong in one of yours is said before anything starts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_things import VENV, Console

from agent.profiles.settings import Choice, missing_parts, resolve
from evals.swebench.prompt_sets import (
    PromptError,
    Prompts,
    fill,
    load_prompts,
    placeholders,
    prompt_set_names,
    text_sha256,
)

ABOUT = """
name = "mine"
version = 3
title = "Mine"
sources = ["me"]
placeholders = ["problem_statement"]
"""
Write = Callable[..., Path]

# A text that changes is a new version, and a new line here: hashes of recorded runs have to stay explicable.
HASHES = {
    ("default", 1): (
        "0d34984d37b47f3804d55de8d42cec0a1d1f85f2d83700c1c56ed4927d91839d",
        "dd382b0a85df2dd399362753821864b4b4f6d2e32f17336b6bd71bbb5e4f24ba",
    ),
    ("mini", 1): (
        "85e8518a2f249d6fe2370c771130c904614281b0919e7de8b9b943247f76c5a5",
        "046fa1da701e9e90e62cff2809815c25b3d120ea651fb4a383e1760b172d96a7",
    ),
    ("qwen", 1): (
        "28a925658ff3c59bf507116497b1cccf57c3774f7144757a2716b9086eb0252a",
        "04fdaeed5f7a088c722a7545529aa792b2206ef2f86d6b0c4f5a08d5a82d0108",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Write:
    def write(name: str = "set", **files: str | bytes | None) -> Path:
        path = tmp_path / name
        path.mkdir()
        texts = {"system": "Work.", "task": "Do this: {problem_statement}", "about": ABOUT, **files}
        for stem, text in texts.items():
            if text is not None:
                file = path / (f"{stem}.toml" if stem == "about" else f"{stem}.md")
                file.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


@pytest.mark.parametrize("name", ["default", "mini", "qwen"])
def test_a_set_that_comes_along_is_what_its_version_says(name: str) -> None:
    prompts = load_prompts(name)
    assert prompts.name == name
    assert (text_sha256(prompts.system), text_sha256(prompts.task)) == HASHES[name, prompts.version]
    assert "{directory}" in prompts.task


def test_there_is_a_line_here_for_every_set() -> None:
    assert prompt_set_names() == sorted({name for name, _ in HASHES})
    assert Prompts.default() == load_prompts("default")


def test_a_folder_of_ones_own_is_read(folder: Write) -> None:
    task = 'See {problem_statement}\r\n{"a": 1} {} {0} ${HOME} ${{ github.sha }}'
    prompts = load_prompts(str(folder(task=task)))
    expected = task.replace("\r\n", "\n")
    assert prompts == Prompts("mine", 3, "Work.", expected)


def test_a_name_wins_over_a_folder_and_a_path_does_not(folder: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder("mini").parent)
    assert load_prompts("mini").name == "mini"
    assert load_prompts("./mini").name == "mine"


WRONG: dict[str, tuple[dict[str, str | bytes | None], str]] = {
    "no task": ({"task": None}, r"has no task\.md"),
    "no system": ({"system": None}, r"has no system\.md"),
    "no about": ({"about": None}, r"has no about\.toml"),
    "nothing": ({"about": None, "system": None, "task": None}, r"no system\.md, no task\.md, no about\.toml"),
    "no problem statement": ({"task": "Do it."}, r"task\.md has no \{problem_statement\}"),
    "unknown placeholder": ({"task": "{problem_statement} {hints_text}"}, r"task\.md has \{hints_text\}"),
    "test names": ({"task": "{problem_statement} {FAIL_TO_PASS}"}, r"has \{FAIL_TO_PASS\}"),
    "another template's": ({"task": "{{problem_statement}}"}, r"has \{\{problem_statement\}\}"),
    "jinja": ({"task": "{problem_statement} {{ task }}"}, r"has \{\{ task \}\}"),
    "jinja with a path": ({"task": "{problem_statement} {{ task.text }}"}, r"has \{\{ task\.text \}\}"),
    "jinja with a filter": ({"task": "{problem_statement} {{task|trim}}"}, r"has \{\{task\|trim\}\}"),
    "jinja without spaces": ({"task": "{problem_statement} {{-task-}}"}, r"has \{\{-task-\}\}"),
    "jinja's words": ({"task": "{problem_statement} {% if x %}a{% endif %}"}, r"has \{% if x %\}"),
    "a format": ({"task": "{problem_statement} {problem_statement!r}"}, r"has \{problem_statement!r\}"),
    "a space": ({"task": "{ problem_statement }"}, r"has \{ problem_statement \}"),
    "system with a place": ({"system": "In {directory}"}, r"system\.md has \{directory\}: it is the same"),
    "empty": ({"task": " \n"}, r"task\.md is empty"),
    "no text": ({"system": b"\xff"}, r"system\.md cannot be read"),
    "not declared": (
        {"task": "{problem_statement} {directory}"},
        "placeholders are problem_statement, and task.md has",
    ),
    "a set's name": ({"about": ABOUT.replace("mine", "default")}, "name is 'default', which is a set that comes along"),
    "no TOML": ({"about": "name = "}, r"about\.toml is no TOML"),
    "no version": ({"about": ABOUT.replace("version = 3", "")}, r"about\.toml: version"),
    "no source": ({"about": ABOUT.replace('["me"]', "[]")}, r"about\.toml: sources"),
    "unknown key": ({"about": ABOUT + "author = 'me'\n"}, r"about\.toml: author"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_folder_is_said_with_the_file(folder: Write, case: str) -> None:
    files, words = WRONG[case]
    path = folder(**files)
    with pytest.raises(PromptError, match=words) as refusal:
        load_prompts(str(path))
    assert str(path) in str(refusal.value)


def test_a_name_that_is_none_is_told_which_there_are() -> None:
    with pytest.raises(PromptError, match="'nope', and no such folder; there are: default, mini, qwen"):
        load_prompts("nope")


@pytest.mark.parametrize("choice", ["x" * 300, "~nobody-of-that-name/x", "a\0b"])
def test_what_can_be_no_folder_is_told_so(choice: str) -> None:
    with pytest.raises(PromptError, match="and no such folder"):
        load_prompts(choice)


def test_other_braces_stay_as_they_are() -> None:
    text = "${directory} {directory} {problem_statement} {} {1} { 'a': 1 } a{2,3}"
    assert placeholders(text, Path("task.md")) == ["directory", "problem_statement"]
    filled = fill(text, {"directory": "/testbed", "problem_statement": "{directory}"})
    assert filled == "${directory} /testbed {directory} {} {1} { 'a': 1 } a{2,3}"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_is_taken_or_refused_with_a_sentence(text: str) -> None:
    from evals.swebench import prompt_sets

    try:
        found = prompt_sets.placeholders(text, Path("task.md"))
    except PromptError:
        assert "{" in text
    else:
        assert set(found) <= prompt_sets.PLACEHOLDERS.keys()


@pytest.mark.parametrize("choice", ["nope", "wrong"])
def test_a_prompt_that_cannot_be_used_ends_the_command_before_it_starts(
    console: Console, tmp_path: Path, folder: Write, choice: str
) -> None:
    prompt = str(folder("wrong", task="No place.")) if choice == "wrong" else choice
    dataset = str(tmp_path / "rows.json")
    done = console.run([str(VENV / "bin" / "evals"), "swebench", "--dataset", dataset, "--prompt", prompt])
    assert done.code == 2
    assert "--prompt" in done.err
    assert "Traceback" not in done.err


def test_a_preset_may_name_a_prompt_and_the_command_line_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own = tmp_path / "unbroken" / "presets" / "try.toml"
    own.parent.mkdir(parents=True)
    own.write_text('name = "try"\ntitle = "Try"\nprompt = { value = "qwen", ours = "to see" }\n')
    settings = resolve(Choice(preset="try"), {"prompt": None})
    assert (settings["prompt"], settings.origins["prompt"]) == ("qwen", "ours: to see")
    assert resolve(Choice(preset="try"), {"prompt": "mini"})["prompt"] == "mini"
    assert missing_parts(settings, {}) == ["prompt qwen"]
    assert missing_parts(settings, {"prompt": None}) == []

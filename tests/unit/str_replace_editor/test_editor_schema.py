"""What the model is told of the editor, and how its arguments are read."""

import pytest
from editor_desk import TEN_LINES, Desk
from pydantic import ValidationError

from tools.editor_parameters import EditorParameters
from tools.str_replace_editor import StrReplaceEditor
from tools.tool import Tool, definition, explain_invalid_arguments


def test_schema_is_the_public_one_without_noise() -> None:
    function = definition(StrReplaceEditor())["function"]
    properties = function["parameters"]["properties"]
    assert function["name"] == "str_replace_editor"
    assert list(properties) == ["command", "path", "file_text", "old_str", "new_str", "insert_line", "view_range"]
    assert [field["type"] for field in properties.values()] == ["string"] * 5 + ["integer", "array"]
    assert properties["command"]["enum"] == ["view", "create", "str_replace", "insert", "undo_edit"]
    assert properties["view_range"]["items"] == {"type": "integer"}
    assert function["parameters"]["required"] == ["command", "path"]
    assert all(set(field) <= {"type", "description", "enum", "items"} for field in properties.values())


def test_it_is_a_tool_that_reads_or_edits() -> None:
    tool: Tool[EditorParameters] = StrReplaceEditor()
    access = {
        command: tool.access(EditorParameters.model_validate({"command": command, "path": "/x"}))
        for command in ("view", "create", "str_replace", "insert", "undo_edit")
    }
    assert access.pop("view") == "read"
    assert set(access.values()) == {"edit"}


@pytest.mark.parametrize(
    "given_range", [[3, 4], "3-4", "[3, 4]", "[3,4]", " (3, 4) ", "3 4", "3:4", "3..4", ["3", "4"]]
)
async def test_view_range_is_understood_in_many_spellings(desk: Desk, given_range: object) -> None:
    path = desk.file("ten.txt", TEN_LINES)
    text = await desk.done("view", path, view_range=given_range)
    assert text == f"Here's the result of running `cat -n` on {path}:\n     3\tline 3\n     4\tline 4\n"


@pytest.mark.parametrize("nothing", [None, "", "null", "None", [], "[]"])
async def test_a_parameter_spelled_as_nothing_is_left_out(desk: Desk, nothing: object) -> None:
    path = desk.file("one.txt", "only\n")
    assert "     1\tonly\n" in await desk.done("view", path, view_range=nothing)


async def test_numbers_may_come_as_text(desk: Desk) -> None:
    path = desk.file("one.txt", "a\nb\n")
    await desk.done("insert", path, insert_line="1", new_str="between")
    assert path.read_text() == "a\nbetween\nb\n"
    assert "`insert_line` is required" in await desk.refused("insert", path, insert_line="", new_str="x")


def test_an_unreadable_view_range_and_an_unknown_command_are_explained() -> None:
    with pytest.raises(ValidationError) as failure:
        EditorParameters.model_validate({"command": "show", "path": "/x", "view_range": "the top"})
    message = explain_invalid_arguments(StrReplaceEditor(), failure.value)
    assert "'view', 'create', 'str_replace', 'insert' or 'undo_edit'" in message
    assert "Invalid `view_range`. It should be a list of two integers" in message


@pytest.mark.parametrize("command", ["view", "create", "str_replace", "insert", "undo_edit"])
async def test_a_relative_path_is_refused_with_the_likely_one(desk: Desk, command: str) -> None:
    text = await desk.refused(command, "src/a.py", file_text="", old_str="a", new_str="b", insert_line=0)
    assert text == (
        "The path src/a.py is not an absolute path, it should start with `/`. "
        f"Maybe you meant {desk.directory}/src/a.py?"
    )


@pytest.mark.parametrize("command", ["view", "str_replace", "insert"])
@pytest.mark.parametrize("name", ["missing.py", "there.py/missing.py"])
async def test_a_missing_file_is_named(desk: Desk, command: str, name: str) -> None:
    desk.file("there.py", "")
    path = desk.directory / name
    text = await desk.refused(command, path, old_str="a", new_str="b", insert_line=0)
    assert text == f"The path {path} does not exist. Please provide a valid path."


async def test_a_path_with_a_nul_or_half_a_character_is_explained(desk: Desk) -> None:
    assert "Parameter `path` holds a NUL character" in await desk.refused("view", "/tmp/a\0b")
    assert r"Parameter `path` holds '\ud83d', half of a character" in await desk.refused("view", "/tmp/\ud83d")


@pytest.mark.parametrize(
    "name", ["it's a file.txt", 'say "hi" $HOME `id`.txt', "naïve – 文件 🙂.txt", "-rf", "a\nb.txt"]
)
async def test_unusual_names_work_with_every_command(desk: Desk, name: str) -> None:
    path = desk.directory / name
    assert await desk.done("create", path, file_text="one\n") == f"File created successfully at: {path}"
    assert "     1\tone\n" in await desk.done("view", path)
    await desk.done("str_replace", path, old_str="one", new_str="two")
    await desk.done("insert", path, insert_line=0, new_str="zero")
    assert path.read_text() == "zero\ntwo\n"
    assert str(path) in await desk.done("view", desk.directory)
    for _ in range(3):
        await desk.done("undo_edit", path)
    assert not path.exists()


async def test_spellings_of_one_path_share_their_history(desk: Desk) -> None:
    path = desk.file("a.txt", "one\n")
    await desk.done("str_replace", f"{desk.directory}//./a.txt", old_str="one", new_str="two")
    await desk.done("undo_edit", path)
    assert path.read_text() == "one\n"

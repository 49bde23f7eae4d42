"""The four commands that change files, in the words that models know."""

from typing import Any

import pytest
from editor_desk import TEN_LINES, Desk


async def test_create_makes_the_file_and_its_folders(desk: Desk) -> None:
    path = desk.directory / "new" / "folder" / "a.py"
    assert await desk.done("create", path, file_text="x = 'é'\r\n") == f"File created successfully at: {path}"
    assert path.read_bytes() == "x = 'é'\r\n".encode()


@pytest.mark.parametrize("content", ["", "here\n"])
async def test_create_does_not_overwrite(desk: Desk, content: str) -> None:
    path = desk.file("a.py", content)
    text = await desk.refused("create", path, file_text="new")
    assert text.startswith(f"File already exists at: {path}. Cannot overwrite files using command `create`.")
    assert path.read_text() == content


@pytest.mark.parametrize(
    ("command", "arguments", "missing"),
    [
        ("create", {}, "file_text"),
        ("str_replace", {"new_str": "x"}, "old_str"),
        ("insert", {"new_str": "x"}, "insert_line"),
        ("insert", {"insert_line": 1}, "new_str"),
    ],
)
async def test_a_missing_parameter_is_named(desk: Desk, command: str, arguments: dict[str, Any], missing: str) -> None:
    path = desk.directory / "a.py"
    text = await desk.refused(command, path, **arguments)
    assert text == f"Parameter `{missing}` is required for command: {command}"


async def test_half_a_character_is_not_written(desk: Desk) -> None:
    path = desk.directory / "a.txt"
    text = await desk.refused("create", path, file_text="smile \ud83d")
    assert text.startswith(r"Parameter `file_text` holds '\ud83d', half of a character")
    assert not path.exists()


async def test_a_text_file_is_not_made_binary(desk: Desk) -> None:
    path = desk.file("a.txt", "x\n")
    text = await desk.refused("str_replace", path, old_str="x", new_str="\0")
    assert text.startswith("Parameter `new_str` holds a NUL character")
    assert path.read_text() == "x\n"


async def test_str_replace_shows_the_edit_with_four_lines_around_it(desk: Desk) -> None:
    path = desk.file("ten.txt", TEN_LINES)
    text = await desk.done("str_replace", path, old_str="line 6\n", new_str="six\nand a half\n")
    assert text == (
        f"The file {path} has been edited. Here's the result of running `cat -n` on a snippet of {path}:\n"
        "     2\tline 2\n     3\tline 3\n     4\tline 4\n     5\tline 5\n     6\tsix\n     7\tand a half\n"
        "     8\tline 7\n     9\tline 8\n    10\tline 9\n    11\tline 10\n"
        "Review the changes and make sure they are as expected. Edit the file again if necessary."
    )
    assert path.read_text() == TEN_LINES.replace("line 6\n", "six\nand a half\n")


async def test_str_replace_without_new_str_deletes(desk: Desk) -> None:
    path = desk.file("ten.txt", TEN_LINES)
    await desk.done("str_replace", path, old_str="line 5\n")
    assert path.read_text() == TEN_LINES.replace("line 5\n", "")


async def test_the_whole_content_can_be_deleted_and_put_back(desk: Desk) -> None:
    path = desk.file("a.txt", "all\n")
    await desk.done("str_replace", path, old_str="all\n", new_str="")
    assert path.read_bytes() == b""
    await desk.done("undo_edit", path)
    assert path.read_bytes() == b"all\n"


async def test_several_matches_are_listed_by_line(desk: Desk) -> None:
    path = desk.file("a.py", "x = 1\ny = 2\nz = 3\nx = 1\ny = 2\n")
    text = await desk.refused("str_replace", path, old_str="x = 1\ny = 2", new_str="")
    assert text.startswith(
        "No replacement was performed. Multiple occurrences of old_str `x = 1\ny = 2` in lines [1, 4]. "
        "Please ensure it is unique"
    )
    assert path.read_text() == "x = 1\ny = 2\nz = 3\nx = 1\ny = 2\n"


async def test_matches_that_overlap_are_several(desk: Desk) -> None:
    path = desk.file("a.js", "}\n}\n}\n")
    text = await desk.refused("str_replace", path, old_str="}\n}\n", new_str="}\n")
    assert "in lines [1, 2]." in text


async def test_matches_that_begin_with_a_line_end_belong_to_the_line_that_it_ends(desk: Desk) -> None:
    path = desk.file("a.txt", "a\n\n\n\nb\n\nc\n")
    assert "in lines [1, 2, 3, 5]." in await desk.refused("str_replace", path, old_str="\n\n", new_str="\n")


async def test_very_many_matches_are_not_all_listed(desk: Desk) -> None:
    path = desk.file("a.txt", "a a a\n" * 5_000)
    text = await desk.refused("str_replace", path, old_str="a", new_str="b")
    assert f"in lines {list(range(1, 21))} and more." in text


async def test_no_match_is_said_plainly(desk: Desk) -> None:
    path = desk.file("a.txt", "something else\n")
    text = await desk.refused("str_replace", path, old_str="nowhere", new_str="x")
    assert text.startswith(f"No replacement was performed, old_str `nowhere` did not appear verbatim in {path}.")


async def test_no_match_but_for_whitespace_shows_the_place(desk: Desk) -> None:
    path = desk.file("a.py", "class A:\n    def f(self):\n        return 1\n")
    text = await desk.refused("str_replace", path, old_str="def f( self ):\n    return 1", new_str="x")
    assert "The text at line 2 differs in whitespace only" in text
    assert "     2\t    def f(self):\n     3\t        return 1\n" in text


async def test_no_match_shows_the_most_similar_place(desk: Desk) -> None:
    path = desk.file("ten.txt", TEN_LINES)
    text = await desk.refused("str_replace", path, old_str="line 4\nline five\nline 6\n", new_str="x")
    assert "The text at line 4 is the most similar" in text
    assert "     4\tline 4\n     5\tline 5\n     6\tline 6\n" in text


async def test_no_match_because_of_copied_line_numbers(desk: Desk) -> None:
    path = desk.file("ten.txt", TEN_LINES)
    text = await desk.refused("str_replace", path, old_str="     4\tline 4\n     5\tline 5", new_str="x")
    assert "It holds the line numbers that `view` adds" in text


async def test_a_long_old_str_is_not_repeated_whole(desk: Desk) -> None:
    path = desk.file("a.txt", "x\n")
    text = await desk.refused("str_replace", path, old_str="y" * 50_000, new_str="x")
    assert len(text) < 2_000
    assert "<response clipped>" in text


async def test_an_empty_old_str_is_refused(desk: Desk) -> None:
    path = desk.file("a.txt", "")
    text = await desk.refused("str_replace", path, old_str="", new_str="x")
    assert text.startswith("No replacement was performed, old_str is empty.")


async def test_replacing_by_the_same_is_refused(desk: Desk) -> None:
    path = desk.file("a.txt", "x\n")
    text = await desk.refused("str_replace", path, old_str="x", new_str="x")
    assert text == "No replacement was performed, old_str `x` is the same as new_str."


async def test_a_change_by_someone_else_does_not_hinder_an_edit(desk: Desk) -> None:
    path = desk.file("a.txt", "one\ntwo\n")
    await desk.done("view", path)
    path.write_text("zero\none\ntwo\n")
    await desk.done("str_replace", path, old_str="two", new_str="2")
    assert path.read_text() == "zero\none\n2\n"


async def test_an_edit_keeps_the_mode_of_the_file(desk: Desk) -> None:
    path = desk.file("run.sh", "#!/bin/sh\necho a\n")
    path.chmod(0o755)
    await desk.done("str_replace", path, old_str="echo a", new_str="echo b")
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("content", "line", "new", "result"),
    [
        ("a\nb\n", 0, "x", "x\na\nb\n"),
        ("a\nb\n", 1, "x\ny", "a\nx\ny\nb\n"),
        ("a\nb\n", 2, "x", "a\nb\nx\n"),
        ("a\nb", 2, "x", "a\nb\nx"),
        ("a\nb", 0, "x", "x\na\nb"),
        ("", 0, "x", "x\n"),
        ("\n", 1, "x", "\nx\n"),
        ("a\n", 1, "x\n", "a\nx\n\n"),
        ("a\nb\n", 1, "", "a\n\nb\n"),
    ],
)
async def test_insert_goes_after_the_line(desk: Desk, content: str, line: int, new: str, result: str) -> None:
    path = desk.file("a.txt", content)
    await desk.done("insert", path, insert_line=line, new_str=new)
    assert path.read_text() == result
    await desk.done("undo_edit", path)
    assert path.read_text() == content


async def test_insert_shows_the_lines_around_it(desk: Desk) -> None:
    path = desk.file("ten.txt", TEN_LINES)
    text = await desk.done("insert", path, insert_line=6, new_str="six\nand a half")
    assert text == (
        f"The file {path} has been edited. Here's the result of running `cat -n` on a snippet of the edited file:\n"
        "     3\tline 3\n     4\tline 4\n     5\tline 5\n     6\tline 6\n     7\tsix\n     8\tand a half\n"
        "     9\tline 7\n    10\tline 8\n    11\tline 9\n    12\tline 10\n"
        "Review the changes and make sure they are as expected (correct indentation, no duplicate lines, etc). "
        "Edit the file again if necessary."
    )


@pytest.mark.parametrize("line", [-1, 11])
async def test_insert_outside_the_file_is_refused(desk: Desk, line: int) -> None:
    path = desk.file("ten.txt", TEN_LINES)
    assert await desk.refused("insert", path, insert_line=line, new_str="x") == (
        f"Invalid `insert_line` parameter: {line}. It should be within the range of lines of the file: [0, 10]"
    )


async def test_undo_without_an_edit(desk: Desk) -> None:
    path = desk.file("a.txt", "x\n")
    assert await desk.refused("undo_edit", path) == f"No edit history found for {path}."


async def test_undo_takes_back_one_edit_after_the_other(desk: Desk) -> None:
    path = desk.directory / "a.txt"
    await desk.done("create", path, file_text="one\n")
    await desk.done("str_replace", path, old_str="one", new_str="two")
    await desk.done("insert", path, insert_line=1, new_str="three")
    text = await desk.done("undo_edit", path)
    assert path.read_text() == "two\n"
    assert text == (
        f"Last edit to {path} undone successfully. "
        f"Here's the result of running `cat -n` on a snippet of {path}:\n     1\ttwo\n"
    )
    await desk.done("undo_edit", path)
    assert path.read_text() == "one\n"
    text = await desk.done("undo_edit", path)
    assert text.startswith(f"Last edit to {path} undone successfully. It had created the file")
    assert not path.exists()
    assert await desk.refused("undo_edit", path) == f"No edit history found for {path}."
    await desk.done("create", path, file_text="again\n")


async def test_undo_does_not_destroy_what_someone_else_wrote(desk: Desk) -> None:
    path = desk.directory / "a.txt"
    await desk.done("create", path, file_text="one\n")
    path.write_text("one\nby bash\n")
    text = await desk.refused("undo_edit", path)
    assert text.startswith(f"No undo was performed: {path} has been changed by something else")
    assert path.read_text() == "one\nby bash\n"
    path.write_text("one\n")
    await desk.done("undo_edit", path)
    assert not path.exists()


async def test_undo_of_a_file_that_is_gone(desk: Desk) -> None:
    path = desk.directory / "a.txt"
    await desk.done("create", path, file_text="one\n")
    path.unlink()
    assert "does not exist" in await desk.refused("undo_edit", path)

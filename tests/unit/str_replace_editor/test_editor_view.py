"""What `view` shows, and which files the editor leaves alone."""

import os

import pytest
from editor_desk import TEN_LINES, Desk

from tools.editor_files import FILE_LIMIT


async def test_view_numbers_lines_like_cat(desk: Desk) -> None:
    path = desk.file("a.py", "def f():\n\treturn 1\n\n# end")
    assert await desk.done("view", path) == (
        f"Here's the result of running `cat -n` on {path}:\n"
        "     1\tdef f():\n     2\t\treturn 1\n     3\t\n     4\t# end\n"
    )


async def test_view_to_the_end(desk: Desk) -> None:
    path = desk.file("ten.txt", TEN_LINES)
    text = await desk.done("view", path, view_range=[9, -1])
    assert text.splitlines()[1:] == ["     9\tline 9", "    10\tline 10"]


async def test_view_beyond_the_end_shows_what_there_is(desk: Desk) -> None:
    path = desk.file("ten.txt", TEN_LINES)
    text = await desk.done("view", path, view_range=[9, 40])
    assert text.splitlines()[1:] == ["     9\tline 9", "    10\tline 10", "<NOTE>The file ends at line 10.</NOTE>"]


@pytest.mark.parametrize(
    ("view_range", "reason"),
    [
        ([0, 5], "Its first element `0` should be within the range of lines of the file: [1, 10]"),
        ([11, 12], "Its first element `11` should be within the range of lines of the file: [1, 10]"),
        ([5, 4], "Its second element `4` should be larger or equal than its first `5`"),
        ([5, -2], "Its second element `-2` should be larger or equal than its first `5`"),
    ],
)
async def test_an_impossible_view_range_is_explained(desk: Desk, view_range: list[int], reason: str) -> None:
    path = desk.file("ten.txt", TEN_LINES)
    assert await desk.refused("view", path, view_range=view_range) == f"Invalid `view_range`: {view_range}. {reason}"


@pytest.mark.parametrize("view_range", [[1], [1, 2, 3]])
async def test_a_view_range_has_two_numbers(desk: Desk, view_range: list[int]) -> None:
    path = desk.file("ten.txt", TEN_LINES)
    text = await desk.refused("view", path, view_range=view_range)
    assert text.startswith("Invalid `view_range`. It should be a list of two integers")


async def test_view_of_an_empty_file_says_so(desk: Desk) -> None:
    path = desk.file("empty.txt", "")
    assert await desk.done("view", path) == f"The file {path} is empty."


async def test_view_of_a_long_file_is_cut_at_a_line_end_with_a_notice(desk: Desk) -> None:
    path = desk.file("long.txt", "".join(f"this is line {number} of many\n" for number in range(1, 5001)))
    text = await desk.done("view", path)
    *lines, notice = text.splitlines()[1:]
    last = len(lines)
    assert lines[-1] == f"{last:6}\tthis is line {last} of many"
    assert sum(len(line) - 6 for line in lines) <= 16_000
    assert notice.startswith(f"<response clipped><NOTE>Only lines 1 to {last} are shown, {5000 - last} more are not.")
    assert "     4000\tthis is" not in text
    assert f"{last + 1:6}\tthis is" in await desk.done("view", path, view_range=[last + 1, -1])


async def test_view_cuts_a_very_long_line(desk: Desk) -> None:
    path = desk.file("minified.js", "x" * 50_000 + "\nshort\n")
    text = await desk.done("view", path)
    assert len(text) < 3_000
    assert "[48000 characters of this line cut]" in text
    assert "     2\tshort\n" in text


async def test_view_of_a_directory_goes_two_levels_deep_without_hidden_items(desk: Desk) -> None:
    for name in ("b/c/d.py", "b/x.py", ".git/config", "b/.cache/y", "a.py"):
        (desk.directory / name).parent.mkdir(parents=True, exist_ok=True)
        (desk.directory / name).touch()
    text = await desk.done("view", f"{desk.directory}/")
    root = desk.directory
    assert text == (
        f"Here's the files and directories up to 2 levels deep in {root}, excluding hidden items:\n"
        f"{root}\n{root}/a.py\n{root}/b\n{root}/b/c\n{root}/b/x.py\n"
    )


async def test_view_of_a_directory_below_a_hidden_one(desk: Desk) -> None:
    directory = desk.directory / ".hidden" / "it's"
    directory.mkdir(parents=True)
    (directory / "seen.txt").touch()
    assert f"{directory}/seen.txt\n" in await desk.done("view", directory)


async def test_view_of_a_crowded_directory_is_cut_with_a_notice(desk: Desk) -> None:
    for number in range(600):
        (desk.directory / f"a-file-with-a-rather-long-name-{number:04}.txt").touch()
    text = await desk.done("view", desk.directory)
    assert len(text) < 17_000
    assert "<response clipped><NOTE>" in text


async def test_view_range_does_not_go_with_a_directory(desk: Desk) -> None:
    text = await desk.refused("view", desk.directory, view_range=[1, 2])
    assert text == "The `view_range` parameter is not allowed when `path` points to a directory."


@pytest.mark.parametrize("command", ["create", "str_replace", "insert"])
async def test_a_directory_can_only_be_viewed(desk: Desk, command: str) -> None:
    text = await desk.refused(command, desk.directory, file_text="", old_str="a", new_str="b", insert_line=0)
    assert text == f"The path {desk.directory} is a directory and only the `view` command can be used on directories"


@pytest.mark.parametrize("command", ["view", "str_replace", "insert"])
async def test_a_binary_file_is_refused(desk: Desk, command: str) -> None:
    path = desk.file("a.bin", b"\x7fELF\0\0")
    text = await desk.refused(command, path, old_str="ELF", new_str="b", insert_line=0)
    assert text.startswith(f"The file {path} is binary")
    assert path.read_bytes() == b"\x7fELF\0\0"


async def test_a_huge_file_is_refused(desk: Desk) -> None:
    path = desk.file("huge.log", "start\n")
    os.truncate(path, FILE_LIMIT + 1)
    text = await desk.refused("str_replace", path, old_str="start", new_str="b")
    assert text.startswith(f"The file {path} is larger than 100 MB.")


async def test_what_the_system_does_not_allow_is_explained(desk: Desk) -> None:
    path = desk.directory / ("n" * 300)
    assert await desk.refused("view", path) == f"Ran into File name too long while trying to read {path}"
    assert await desk.refused("create", path, file_text="") == (
        f"Ran into File name too long while trying to read {path}"
    )
    below_a_file = desk.file("a.txt", "") / "b.txt"
    text = await desk.refused("create", below_a_file, file_text="")
    assert text.startswith("Ran into ")
    assert text.endswith(f"while trying to write to {below_a_file}")


async def test_an_error_without_words_of_its_own_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(path: str, data: bytes) -> None:
        raise OSError(path)

    path = desk.file("a.txt", "x\n")
    monkeypatch.setattr(desk.sandbox, "write_bytes", refuse)
    text = await desk.refused("str_replace", path, old_str="x", new_str="y")
    assert text == f"Ran into OSError while trying to write to {path}"
    assert await desk.refused("undo_edit", path) == f"No edit history found for {path}."

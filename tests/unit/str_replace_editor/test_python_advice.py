"""What is said of Python files that an edit leaves broken, and that nothing is said of others."""

import sys
import warnings

import pytest
from editor_desk import Desk


async def test_a_new_file_that_is_no_python_is_pointed_out(desk: Desk) -> None:
    path = desk.directory / "a.py"
    assert await desk.done("create", path, file_text="x = 1\nreturn (\n") == (
        f"File created successfully at: {path}\nNote: the file does not parse as Python "
        f"{sys.version_info.major}.{sys.version_info.minor}: line 2: '(' was never closed"
    )
    assert "Note" not in await desk.done("create", desk.directory / "a.txt", file_text="print 'hello'\n")


async def test_a_file_that_did_not_parse_before_is_left_alone(desk: Desk) -> None:
    path = desk.file("old.py", "print 'hello'\nx = 1\n")
    assert "Note" not in await desk.done("str_replace", path, old_str="x = 1", new_str="x = (1")


async def test_an_insertion_that_breaks_a_long_file_is_pointed_out(desk: Desk) -> None:
    functions = "".join(f"def function_{number}(x):\n    return x + {number}\n\n\n" for number in range(2_000))
    path = desk.file("long.py", functions)
    assert "Note" not in await desk.done("insert", path, insert_line=4_001, new_str="    x = 5")
    assert (await desk.done("insert", path, insert_line=4_001, new_str="  x = 5")).endswith(
        "\nNote: the file no longer parses as Python: line 4003: unexpected indent"
    )
    await desk.done("undo_edit", path)
    assert (await desk.done("str_replace", path, old_str="def function_0(x):\n", new_str="")).endswith(
        "\nNote: the file no longer parses as Python: line 1: unexpected indent"
    )


async def test_an_edit_inside_a_long_text_is_none_of_its_business(desk: Desk) -> None:
    path = desk.file("text.py", 'TEXT = """\n' + "def is a word, and (\nclass is another\n" * 3_000 + '"""\n')
    assert "Note" not in await desk.done("insert", path, insert_line=3_000, new_str="import the word (")


async def test_a_declaration_that_makes_bytes_unreadable_is_pointed_out(desk: Desk) -> None:
    path = desk.file("latin.py", b"# coding: latin-1\nx = '\xe9'\n")
    assert (await desk.done("str_replace", path, old_str="latin-1", new_str="utf-8")).endswith(
        "\nNote: the file no longer parses as Python: it holds bytes that are not UTF-8"
    )


@pytest.mark.parametrize(
    "hostile",
    [
        "(" * 100_000,
        "-" * 200_000 + "1",
        "x = " + "[" * 150 + "]" * 150,
        "f(" * 5_000 + ")" * 5_000,
        "a." * 100_000 + "b",
        "if x:\n" + "".join(" " * depth + "if x:\n" for depth in range(1, 500)),
        "x = 1" + "0" * 10_000,
        "lambda: " * 20_000 + "1",
        'f"{' * 500,
        "\x0c\x1a",
        "x = '\ufffd'",
        "'" * 500_001,
    ],
)
async def test_hostile_code_is_written_and_nothing_worse_happens(desk: Desk, hostile: str) -> None:
    path = desk.directory / "hostile.py"
    assert (await desk.done("create", path, file_text=hostile)).startswith("File created successfully")
    path.write_text("x = 1\n")
    text = await desk.done("str_replace", path, old_str="x = 1", new_str=hostile)
    assert text.startswith(f"The file {path} has been edited.")
    assert path.read_text() == hostile + "\n"


async def test_nothing_is_said_of_a_file_that_is_too_long_to_look_at(desk: Desk) -> None:
    path = desk.file("long.py", "x = 1\n" * 200_000 + "y = 2\n")
    assert "Note" not in await desk.done("str_replace", path, old_str="y = 2", new_str="y = (")


async def test_warnings_about_the_code_are_not_shown(desk: Desk) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "Note" not in await desk.done(
            "create", desk.directory / "a.py", file_text="x = '\\d'\nassert (x, 'y')\nx is 'a'\n"
        )

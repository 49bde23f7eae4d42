"""What the editor promises in every sandbox, in the same words: tests that run against each kind of sandbox.

A test module derives a class from `EditorPromises` and gives it a fixture `desk`.
"""

from typing import Any

from editor_at_work import EDITED, EditorDesk
from editor_file_promises import EditorFilePromises


class EditorPromises(EditorFilePromises):
    """The suite."""

    # -- what is not quite the text of the file

    async def test_indentation_that_is_off_is_forgiven_where_only_one_place_can_be_meant(
        self, desk: EditorDesk
    ) -> None:
        path = await desk.file("a.py", "class A:\n    def f(self):\n        return 1  \n\n    y = 2\n")
        text = await desk.done(
            "str_replace",
            path,
            old_str="def f(self):\n    return 1\n",
            new_str="def f(self):\n    if self:\n        return 2\n    return 1\n",
        )
        assert text == EDITED.format(
            path=path,
            snippet="     1\tclass A:\n     2\t    def f(self):\n     3\t        if self:\n"
            "     4\t            return 2\n     5\t        return 1  \n     6\t\n     7\t    y = 2",
        ) + (
            "\nNote: old_str did not match exactly. The only place that differs from it in nothing but indentation, "
            "lines 2 to 3, was replaced, and new_str was indented as the file is."
        )

    async def test_whitespace_at_line_ends_is_forgiven_and_kept(self, desk: EditorDesk) -> None:
        path = await desk.file("a.txt", "first line  \nsecond line\t\nthird line")
        text = await desk.done(
            "str_replace", path, old_str="first line\nsecond line\nthird line\n", new_str="first line\nlast line\n"
        )
        assert text.endswith(
            "\nNote: old_str did not match exactly. The only place that differs from it in nothing but whitespace at "
            "line ends, lines 1 to 3, was replaced."
        )
        assert await desk.content(path) == b"first line  \nlast line"

    async def test_two_places_that_differ_in_whitespace_are_one_too_many(self, desk: EditorDesk) -> None:
        content = b"if one:\n    call(first, second)\nif two:\n        call(first, second)\n"
        path = await desk.file("a.py", content)
        assert await desk.refused("str_replace", path, old_str="\tcall(first, second)", new_str="\tcall(second)") == (
            f"No replacement was performed, old_str `\tcall(first, second)` did not appear verbatim in {path}. "
            "The text at line 2 differs in whitespace only; repeat it exactly as it is in the file:\n"
            "     2\t    call(first, second)\nIn line 2 the file begins with 4 spaces, old_str with 1 tab.\n"
        )
        assert await desk.content(path) == content

    async def test_the_most_similar_place_is_shown_with_what_differs(self, desk: EditorDesk) -> None:
        path = await desk.file("ten.txt", "".join(f"line {number}\n" for number in range(1, 11)))
        assert await desk.refused("str_replace", path, old_str="line 4\nline five\nline 6\n", new_str="x") == (
            f"No replacement was performed, old_str `line 4\nline five\nline 6\n` did not appear verbatim in {path}. "
            "The text at line 4 is the most similar; repeat it exactly as it is in the file:\n"
            "     4\tline 4\n     5\tline 5\n     6\tline 6\n"
            "In line 5 the file has `line 5`, old_str has `line five`.\n"
        )

    async def test_line_numbers_of_a_view_are_recognised(self, desk: EditorDesk) -> None:
        path = await desk.file("two.txt", "first\nsecond\n")
        assert (await desk.refused("str_replace", path, old_str="     1\tfirst\n", new_str="x")).endswith(
            "It holds the line numbers that `view` adds: leave them out, and the tab behind them."
        )

    # -- what has changed since

    async def test_an_insertion_into_a_file_that_has_changed_is_refused(self, desk: EditorDesk) -> None:
        path = await desk.file("a.txt", "one\ntwo\n")
        await desk.done("insert", path, insert_line=2, new_str="three")
        await desk.run("sed -i '1i zero' a.txt")
        assert await desk.refused("insert", path, insert_line=1, new_str="x") == (
            f"No insertion was performed: {path} has been changed by something else since you last viewed or edited it "
            "with this tool, and the line numbers may be others now. Look at it with `view` again."
        )
        await desk.done("view", path)
        await desk.done("insert", path, insert_line=1, new_str="half")
        assert await desk.content(path) == b"zero\nhalf\none\ntwo\nthree\n"

    async def test_a_replacement_proves_itself_by_its_text(self, desk: EditorDesk) -> None:
        path = await desk.file("a.py", "def function():\n    return value\n")
        await desk.done("view", path)
        await desk.run("sed -i '1i # top' a.py")
        assert (
            await desk.refused(
                "str_replace",
                path,
                old_str="def function():\n  return value\n",
                new_str="def other():\n  return value\n",
            )
            != ""
        )
        assert await desk.refused(
            "str_replace", path, old_str="  def function():\n      return value\n", new_str="  pass\n"
        ) == (
            f"No replacement was performed: {path} has been changed by something else since you last viewed or edited "
            "it with this tool, and old_str does not match exactly what is there now. Look at it with `view` again."
        )
        await desk.done("str_replace", path, old_str="function", new_str="other")
        assert await desk.content(path) == b"# top\ndef other():\n    return value\n"

    async def test_undo_goes_back_file_by_file(self, desk: EditorDesk) -> None:
        one, two = desk.path("one.txt"), desk.path("two.txt")
        for path in (one, two):
            await desk.done("create", path, file_text="a\n")
            await desk.done("str_replace", path, old_str="a", new_str="b")
        await desk.done("insert", one, insert_line=1, new_str="c")
        for content in (b"b\n", b"a\n"):
            assert "undone successfully" in await desk.done("undo_edit", one)
            assert await desk.content(one) == content
        assert await desk.done("undo_edit", one) == (
            f"Last edit to {one} undone successfully. It had created the file, so the file has been removed."
        )
        assert await desk.refused("undo_edit", one) == f"No edit history found for {one}."
        assert await desk.content(two) == b"b\n"
        await desk.run("echo more >>two.txt")
        assert await desk.refused("undo_edit", two) == (
            f"No undo was performed: {two} has been changed by something else since its last edit with this tool, "
            "and that change would be lost. Use `view` and `str_replace` instead."
        )

    async def test_undo_of_a_file_that_was_renamed_says_that_it_is_gone(self, desk: EditorDesk) -> None:
        path = desk.path("old.txt")
        await desk.done("create", path, file_text="a\n")
        await desk.run("mv old.txt new.txt")
        assert await desk.refused("undo_edit", path) == f"The path {path} does not exist. Please provide a valid path."
        assert await desk.refused("undo_edit", desk.path("new.txt")) == (
            f"No edit history found for {desk.path('new.txt')}."
        )

    # -- the rest

    async def test_python_that_an_edit_breaks_is_pointed_out(self, desk: EditorDesk) -> None:
        path = await desk.file("a.py", "def f(x):\n    return (x + 1)\n")
        assert (
            await desk.done("str_replace", path, old_str="(x + 1)", new_str="(x + 1")
            == EDITED.format(path=path, snippet="     1\tdef f(x):\n     2\t    return (x + 1")
            + "\nNote: the file no longer parses as Python: line 2: '(' was never closed"
        )
        assert "Note:" not in await desk.done("str_replace", path, old_str="f(x)", new_str="g(x)")

    async def test_control_tokens_are_defused_and_exact_in_the_file(self, desk: EditorDesk) -> None:
        path = await desk.file("template.jinja", "<|im_start|>user\n")
        text = await desk.done("str_replace", path, old_str="<|im_start|>user", new_str="<|im_end|>")
        assert "<|im_end|>" not in text
        assert "<\u2060|im_end|>" in text
        assert await desk.content(path) == b"<|im_end|>\n"

    async def test_an_edit_is_a_read_and_a_write(self, desk: EditorDesk) -> None:
        path = desk.path("a.txt")
        calls: list[tuple[str, dict[str, Any], list[str]]] = [
            ("create", {"file_text": "one\n"}, ["read", "write"]),
            ("view", {}, ["read"]),
            ("str_replace", {"old_str": "one", "new_str": "two"}, ["read", "write"]),
            ("insert", {"insert_line": 0, "new_str": "zero"}, ["read", "write"]),
            ("undo_edit", {}, ["read", "write"]),
            ("undo_edit", {}, ["read", "write"]),
            ("undo_edit", {}, ["read", "exec"]),
        ]
        for command, arguments, trips in calls:
            await desk.done(command, path, **arguments)
            assert desk.sandbox.round_trips == trips
        await desk.run("true")  # which makes the folder
        await desk.done("view", desk.folder)
        assert desk.sandbox.round_trips == ["read", "exec"]

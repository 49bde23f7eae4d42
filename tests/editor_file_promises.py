"""What the editor promises of the bytes of files and of what leads to them, in every sandbox and in the same words."""

import pytest
from editor_at_work import EDITED, INSERTED, EditorDesk

from tools.editor_files import FILE_LIMIT


class EditorFilePromises:
    """The part of the suite that is about files; the module of a sandbox gives it a fixture `desk`."""

    # -- bytes

    @pytest.mark.parametrize(
        ("mark", "codec"),
        [
            (b"\xef\xbb\xbf", "utf-8"),
            (b"\xff\xfe", "utf-16-le"),
            (b"\xfe\xff", "utf-16-be"),
            (b"\xff\xfe\0\0", "utf-32-le"),
        ],
    )
    async def test_a_marked_file_is_read_and_written_in_its_encoding(
        self, desk: EditorDesk, mark: bytes, codec: str
    ) -> None:
        path = await desk.file("marked.txt", mark + "eins\r\nzwei ü 文 🙂\r\n".encode(codec))
        assert await desk.done("view", path) == (
            f"Here's the result of running `cat -n` on {path}:\n     1\teins\n     2\tzwei ü 文 🙂\n"
        )
        assert await desk.done("str_replace", path, old_str="zwei ü", new_str="zwei\n→") == EDITED.format(
            path=path, snippet="     1\teins\n     2\tzwei\n     3\t→ 文 🙂"
        )
        assert await desk.content(path) == mark + "eins\r\nzwei\r\n→ 文 🙂\r\n".encode(codec)
        await desk.done("insert", path, insert_line=0, new_str="null")
        assert await desk.content(path) == mark + "null\r\neins\r\nzwei\r\n→ 文 🙂\r\n".encode(codec)
        await desk.done("undo_edit", path)
        assert (await desk.done("undo_edit", path)).endswith("     1\teins\n     2\tzwei ü 文 🙂\n")
        assert await desk.content(path) == mark + "eins\r\nzwei ü 文 🙂\r\n".encode(codec)

    @pytest.mark.parametrize(
        ("first", "encoding"),
        [
            ("# -*- coding: latin-1 -*-", "latin-1"),
            ("#!/usr/bin/env ruby\n# encoding: iso-8859-1", "iso-8859-1"),
            ('<?xml version="1.0" encoding="windows-1252"?>', "windows-1252"),
            ("# vim: set fileencoding=koi8-r :", "koi8-r"),
            ("# coding: shift_jis", "shift_jis"),
        ],
    )
    async def test_a_declared_encoding_is_kept_and_what_it_lacks_is_refused(
        self, desk: EditorDesk, first: str, encoding: str
    ) -> None:
        word = {"koi8-r": "слово", "shift_jis": "言葉"}.get(encoding, "café")
        path = await desk.file("declared.txt", f"{first}\na = '{word}'\nb = 1\n".encode(encoding))
        assert f"a = '{word}'\n" in await desk.done("view", path)
        await desk.done("str_replace", path, old_str="b = 1", new_str=f"b = '{word}'")
        assert await desk.content(path) == f"{first}\na = '{word}'\nb = '{word}'\n".encode(encoding)
        assert await desk.refused("insert", path, insert_line=1, new_str="c = '🙂'") == (
            f"The text cannot be written to {path}: its encoding is {encoding}, which has no `🙂` (U+1F642). "
            "Use other characters or an escape, or convert the file with `iconv` in bash."
        )
        assert await desk.content(path) == f"{first}\na = '{word}'\nb = '{word}'\n".encode(encoding)

    async def test_a_new_file_is_in_the_encoding_that_it_declares(self, desk: EditorDesk) -> None:
        path = desk.path("new.py")
        text = "# coding: latin-1\nname = 'é'\n"
        assert await desk.done("create", path, file_text=text) == f"File created successfully at: {path}"
        assert await desk.content(path) == text.encode("latin-1")
        other = desk.path("other.py")
        assert "its encoding is latin-1, which has no `€`" in await desk.refused(
            "create", other, file_text=text.replace("é", "€")
        )
        assert await desk.refused("view", other) == f"The path {other} does not exist. Please provide a valid path."

    async def test_bytes_that_nobody_declared_are_kept(self, desk: EditorDesk) -> None:
        path = await desk.file("latin.c", b"/* caf\xe9 */\nint x;\n/* \xe9t\xe9 */\n")
        assert await desk.done("str_replace", path, old_str="int x;", new_str='char *x = "ü";') == EDITED.format(
            path=path, snippet='     1\t/* caf\ufffd */\n     2\tchar *x = "ü";\n     3\t/* \ufffdt\ufffd */'
        ) + (
            "\nNote: the file holds bytes that are not UTF-8, and says nowhere what it is; "
            "new_str was written as UTF-8."
        )
        assert await desk.content(path) == b'/* caf\xe9 */\nchar *x = "\xc3\xbc";\n/* \xe9t\xe9 */\n'

    async def test_line_ends_and_bytes_of_quoted_lines_are_kept_where_they_are_mixed(self, desk: EditorDesk) -> None:
        path = await desk.file("mixed.txt", b"a\r\nb\nc \xe9\r\nd\ne\r\nf\n")
        await desk.done("str_replace", path, old_str="a\nb\nc \ufffd\nd\ne\n", new_str="A\nb\nc \ufffd\nnew\nd\nE\n")
        assert await desk.content(path) == b"A\r\nb\nc \xe9\r\nnew\r\nd\nE\r\nf\n"
        await desk.done("undo_edit", path)
        assert await desk.content(path) == b"a\r\nb\nc \xe9\r\nd\ne\r\nf\n"

    async def test_crlf_is_kept(self, desk: EditorDesk) -> None:
        path = await desk.file("dos.txt", b"one\r\ntwo\r\nthree\r\n")
        assert await desk.done("str_replace", path, old_str="one\ntwo\n", new_str="1\n2\n2b\n") == EDITED.format(
            path=path, snippet="     1\t1\n     2\t2\n     3\t2b\n     4\tthree"
        )
        assert await desk.content(path) == b"1\r\n2\r\n2b\r\nthree\r\n"

    async def test_no_final_newline_is_kept(self, desk: EditorDesk) -> None:
        path = await desk.file("open.txt", b"one\ntwo")
        await desk.done("str_replace", path, old_str="one", new_str="1")
        assert await desk.done("insert", path, insert_line=2, new_str="three") == INSERTED.format(
            path=path, snippet="     1\t1\n     2\ttwo\n     3\tthree"
        )
        assert await desk.content(path) == b"1\ntwo\nthree"

    # -- files that are too large, or no text

    async def test_a_file_of_more_than_100_mb_is_refused(self, desk: EditorDesk) -> None:
        path = desk.path("huge.log")
        await desk.run(f"truncate -s {FILE_LIMIT + 1} huge.log")
        assert await desk.refused("view", path) == (
            f"The file {path} is larger than 100 MB. Use bash, with `sed -n` or `grep -n` for example."
        )
        await desk.run("rm huge.log")

    async def test_a_file_of_20_mb_is_viewed_and_edited(self, desk: EditorDesk) -> None:
        line = "all work and no play makes é a dull byte\r\n"
        before = (line * 500_000).encode() + b"the end\r\n"
        path = await desk.file("large.txt", before)
        text = await desk.done("view", path)
        assert text.endswith("and view them with `view_range`.</NOTE>\n")
        assert await desk.done("view", path, view_range=[500_001, -1]) == (
            f"Here's the result of running `cat -n` on {path}:\n500001\tthe end\n"
        )
        await desk.done("str_replace", path, old_str="the end", new_str="THE END")
        assert await desk.content(path) == before.replace(b"the end", b"THE END")

    async def test_a_line_of_a_megabyte_is_cut(self, desk: EditorDesk) -> None:
        path = await desk.file("minified.js", "x" * 1_000_000 + "\nshort\n")
        cut = f"     1\t{'x' * 2_000} [998000 characters of this line cut]\n"
        assert await desk.done("str_replace", path, old_str="short", new_str="brief") == EDITED.format(
            path=path, snippet=f"{cut}     2\tbrief"
        )

    async def test_a_binary_file_is_refused(self, desk: EditorDesk) -> None:
        path = await desk.file("a.out", b"\x7fELF\0\0")
        assert await desk.refused("str_replace", path, old_str="ELF", new_str="b") == (
            f"The file {path} is binary, and this tool is for text. Use bash, with `xxd` for example."
        )

    # -- directories

    async def test_a_directory_is_shown_two_levels_deep(self, desk: EditorDesk) -> None:
        await desk.run(
            "mkdir -p tree/b/c tree/.git && touch tree/b/c/d.py tree/b/x.py tree/.git/y tree/a.py tree/'a b'"
        )
        await desk.run("ln -s b tree/link && touch \"$(printf 'tree/two\\nlines')\" tree/b/.hidden")
        root = desk.path("tree")
        names = ("", "/a b", "/a.py", "/b", "/b/c", "/b/x.py", "/link", "/two\nlines")
        assert await desk.done("view", root, trips=2) == (
            f"Here's the files and directories up to 2 levels deep in {root}, excluding hidden items:\n"
            + "".join(f"{root}{name}\n" for name in names)
        )

    async def test_an_empty_directory_is_shown(self, desk: EditorDesk) -> None:
        await desk.run("mkdir empty")
        root = desk.path("empty")
        assert await desk.done("view", root) == (
            f"Here's the files and directories up to 2 levels deep in {root}, excluding hidden items:\n{root}\n"
        )

    async def test_a_huge_directory_is_cut_with_the_count(self, desk: EditorDesk) -> None:
        await desk.run("mkdir huge && cd huge && seq -f 'file-%05g' 20000 | xargs touch")
        *lines, notice = (await desk.done("view", desk.path("huge"))).splitlines()
        shown = len(lines) - 2
        assert lines[2:] == [f"{desk.path('huge')}/file-{number:05}" for number in range(1, shown + 1)]
        assert notice == (
            f"<response clipped><NOTE>{20_000 - shown} more are not shown. View one of the directories, "
            "or list them with `ls`.</NOTE>"
        )

    # -- links, modes, names

    async def test_an_edit_through_a_link_changes_what_it_leads_to(self, desk: EditorDesk) -> None:
        path = await desk.file("real/target.txt", "one\n")
        await desk.run("ln -s real/target.txt link.txt && ln -s real folder")
        link = desk.path("link.txt")
        assert await desk.done("str_replace", link, old_str="one", new_str="two") == EDITED.format(
            path=link, snippet="     1\ttwo"
        )
        assert await desk.run("readlink link.txt") == "real/target.txt\n"
        assert await desk.content(path) == b"two\n"
        await desk.done("undo_edit", link)
        assert await desk.content(path) == b"one\n"
        folder = desk.path("folder")
        assert (await desk.done("view", folder)).endswith(f"hidden items:\n{folder}\n{folder}/target.txt\n")

    async def test_a_link_that_leads_nowhere_is_explained(self, desk: EditorDesk) -> None:
        await desk.run("ln -s gone.txt dangling && ln -s circle circle && ln -s no/such/folder/x far")
        for name, target in (("dangling", "gone.txt"), ("circle", "circle"), ("far", "no/such/folder/x")):
            path = desk.path(name)
            assert await desk.refused("view", path) == (
                f"The path {path} does not exist. Please provide a valid path. "
                f"It is a symbolic link to `{target}`, which leads nowhere."
            )
        for name, target in (("circle", "circle"), ("far", "no/such/folder/x")):
            path = desk.path(name)
            assert await desk.refused("create", path, file_text="x") == (
                f"The path {path} is a symbolic link to `{target}`, which leads nowhere. Create the file at a path of "
                "its own, or remove the link with bash first."
            )

    async def test_a_file_made_through_a_link_is_removed_and_the_link_stays(self, desk: EditorDesk) -> None:
        await desk.run("ln -s made.txt dangling")
        await desk.done("create", desk.path("dangling"), file_text="x\n")
        assert await desk.content(desk.path("made.txt")) == b"x\n"
        await desk.done("undo_edit", desk.path("dangling"))
        assert await desk.run("ls -A; readlink dangling") == "dangling\nmade.txt\n"
        assert "does not exist" in await desk.refused("view", desk.path("made.txt"))

    async def test_the_mode_of_a_file_stays(self, desk: EditorDesk) -> None:
        path = await desk.file("run.sh", "#!/bin/sh\necho a\n")
        await desk.run("chmod 751 run.sh")
        await desk.done("str_replace", path, old_str="echo a", new_str="echo b")
        assert await desk.run("stat -c %a run.sh; ./run.sh") == "751\nb\n"

    @pytest.mark.parametrize(
        "name", ["it's a file.txt", 'say "hi" $HOME `id` \\n.txt', "naïve – 文件 🙂.txt", "-rf", " lead and trail "]
    )
    async def test_unusual_names_work_with_every_command(self, desk: EditorDesk, name: str) -> None:
        path = desk.path(f"{name}.d/{name}")
        assert await desk.done("create", path, file_text="one\n") == f"File created successfully at: {path}"
        await desk.done("str_replace", path, old_str="one", new_str="two")
        await desk.done("insert", path, insert_line=0, new_str="zero")
        assert await desk.content(path) == b"zero\ntwo\n"
        assert f"{path}\n" in await desk.done("view", desk.folder)
        for _ in range(3):
            await desk.done("undo_edit", path)
        assert path not in await desk.done("view", desk.folder)

    async def test_a_name_in_the_other_unicode_form_is_found(self, desk: EditorDesk) -> None:
        real = await desk.file("cafe\u0301/re\u0301sume\u0301.txt", "one\n")
        path = desk.path("café/résumé.txt")
        note = f"\nNote: there is no {path}; {real}, whose name is spelled with other Unicode characters, was used."
        assert await desk.done("str_replace", path, old_str="one", new_str="two", trips=6) == (
            EDITED.format(path=real, snippet="     1\ttwo") + note
        )
        assert await desk.content(real) == b"two\n"
        assert (await desk.done("insert", path, insert_line=1, new_str="three")).endswith(note)
        await desk.done("undo_edit", path)
        await desk.done("undo_edit", path)
        assert await desk.content(real) == b"one\n"

    async def test_a_name_in_another_case_is_suggested(self, desk: EditorDesk) -> None:
        real = await desk.file("README.md", "one\n")
        path = desk.path("Readme.md")
        assert await desk.refused("view", path) == (
            f"The path {path} does not exist. Please provide a valid path. Maybe you meant {real}?"
        )

    async def test_paths_that_are_none_are_explained(self, desk: EditorDesk) -> None:
        directory = desk.inner.working_directory
        problem = "is not an absolute path, it should start with `/`."
        assert await desk.refused("view", "src/a.py") == (
            f"The path src/a.py {problem} Maybe you meant {directory}/src/a.py?"
        )
        assert await desk.refused("view", "\n /etc/passwd\n") == (
            f"The path \n /etc/passwd\n {problem} Maybe you meant /etc/passwd?"
        )
        assert await desk.refused("view", "~/a.py") == (
            f"The path ~/a.py {problem} `~` means nothing to this tool; `echo ~` in bash shows what it stands for."
        )
        long = desk.path("n" * 300)
        assert await desk.refused("create", long, file_text="x") == (
            f"Ran into File name too long while trying to read {long}"
        )
        assert len(await desk.refused("view", "/" + "d/" * 500_000)) < 2_000

    async def test_a_file_where_a_folder_is_needed_is_named(self, desk: EditorDesk) -> None:
        path = await desk.file("file.txt", "x") + "/below.txt"
        assert await desk.refused("view", path) == f"The path {path} does not exist. Please provide a valid path."
        assert await desk.refused("create", path, file_text="x") == (
            f"Ran into Not a directory while trying to write to {path}"
        )

    async def test_create_does_not_overwrite(self, desk: EditorDesk) -> None:
        path = await desk.file("there.txt", "old")
        assert await desk.refused("create", path, file_text="new") == (
            f"File already exists at: {path}. Cannot overwrite files using command `create`. "
            "Change it with `str_replace` or `insert`."
        )
        assert await desk.refused("create", desk.folder, file_text="new") == (
            f"The path {desk.folder} is a directory and only the `view` command can be used on directories"
        )

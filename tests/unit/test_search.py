"""`grep` and `glob` find what ripgrep finds, in the same words with ripgrep, with Debian's grep, and with BusyBox."""

import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, get_args

import pytest
from search_desk import COUNTED_IN_BYTES, Programs, SearchDesk, programs_folder, search_desk

from tools.output import neutralise
from tools.search import Glob, Grep
from tools.search_script import CONTENT_LIMIT


@pytest.fixture(params=get_args(Programs))
def programs(request: pytest.FixtureRequest) -> Programs:
    return request.param


@pytest.fixture
async def desk(programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[SearchDesk]:
    path = programs_folder(programs, tmp_path / "programs")
    async with search_desk(tmp_path / "work", path, monkeypatch) as opened:
        yield opened


class TestWhatIsShown:
    async def test_lines_with_their_numbers_under_their_files(self, desk: SearchDesk) -> None:
        desk.write("b.py", "import os\n\ndef foo():\n    return 'é'\n")
        desk.write("a/x.py", "def foo(): pass\n")
        assert await desk.grep(r"def \w+\(") == (
            "2 matching lines in 2 files\na/x.py\n1:def foo(): pass\n\nb.py\n3:def foo():"
        )

    async def test_context_with_a_rule_where_lines_are_left_out(self, desk: SearchDesk) -> None:
        desk.write("f", "".join(f"line {number}\n" for number in range(1, 12)))
        assert await desk.grep("line (3|4|9)$", context=1) == (
            "3 matching lines in 1 file\nf\n2-line 2\n3:line 3\n4:line 4\n5-line 5\n--\n8-line 8\n9:line 9\n10-line 10"
        )

    async def test_files_and_counts(self, desk: SearchDesk) -> None:
        desk.write("b", "x\nx\n")
        desk.write("a:1", "x\n")
        assert await desk.grep("x", output="files") == "2 files with 3 matching lines\na:1\nb"
        assert await desk.grep("x", output="count") == "2 files with 3 matching lines\na:1:1\nb:2"

    async def test_only_so_many_with_the_whole_in_a_file(self, desk: SearchDesk) -> None:
        desk.write("a", "x\n" * 3)
        desk.write("b", "y\nx\nz\nx\n")
        text = await desk.grep("x", limit=4, context=1)
        summary, _, shown = text.partition("\n")
        assert summary.startswith("The first 4 of 5 matching lines in 2 files; all of it is in ")
        assert shown == "a\n1:x\n2:x\n3:x\n\nb\n1-y\n2:x\n3-z"
        whole = Path(summary.rpartition(" ")[2]).read_text()
        assert whole == "a\n1:x\n2:x\n3:x\n\nb\n1-y\n2:x\n3-z\n4:x\n"

    async def test_the_first_files_only(self, desk: SearchDesk) -> None:
        for number in range(5):
            desk.write(f"{number}.py", "x\n")
        assert (await desk.grep("x", output="files", limit=2)).endswith("\n0.py\n1.py")
        text = await desk.glob("*.py", limit=3)
        assert text.startswith("The first 3 of 5 files; all of it is in ")
        assert text.endswith("\n0.py\n1.py\n2.py")

    async def test_long_lines_and_long_results_are_cut(self, desk: SearchDesk) -> None:
        desk.write("long", "ü" * 900 + "\n")
        desk.write("many", "".join(f"ü {number} {'.' * 400}\n" for number in range(100)))
        text = await desk.grep("ü", path="long")
        assert f"\n1:{'ü' * 500} [the rest of this line is cut]" in text
        kept = Path(text.partition("all of it is in ")[2].partition("\n")[0])
        assert f"1:{'ü' * 900}\n" in kept.read_text()
        text = await desk.grep("ü", path="many")
        assert " characters cut here]\n" in text
        assert len(text) < 17_000
        assert Path(text.split("\n")[0].rpartition(" ")[2]).read_text().count("\n") == 101

    async def test_more_than_anybody_reads_is_bounded(self, desk: SearchDesk) -> None:
        for name in "ab":
            desk.write(name, ("x" * 99 + "\n") * (CONTENT_LIMIT // 150))
        text = await desk.grep("x", limit=2)
        summary = text.split("\n")[0]
        assert f"The first 2 of {CONTENT_LIMIT // 150 * 2} matching lines in 2 files; the first part of it" in summary
        kept = Path(summary.rpartition(" ")[2]).read_text()
        assert CONTENT_LIMIT // 2 < len(kept) < CONTENT_LIMIT
        assert kept.endswith("x" * 99 + "\n")

    async def test_nothing_that_a_file_holds_can_be_taken_for_the_harness(self, desk: SearchDesk) -> None:
        desk.write("f", "needle <|im_end|>\x1b[31m red\x07\r\n\x02T 9 9 9\nEneedle\n")
        assert await desk.grep("needle") == neutralise(
            "2 matching lines in 1 file\nf\n1:needle <|im_end|> red\\x07\n3:Eneedle"
        )

    async def test_control_tokens_that_are_copied_mean_the_real_ones(self, desk: SearchDesk) -> None:
        desk.write("f", "<|im_end|>\n")
        assert (await desk.grep(neutralise(r"<|im_end|>").replace("|", r"\|"))).startswith("1 matching line")

    async def test_the_same_question_has_the_same_answer(self, desk: SearchDesk) -> None:
        for name in ("z", "a/b", "a.b", "B", "é", "ab"):
            desk.write(name, "x\n")
        answers = {await desk.grep("x", output="files") for _ in range(5)}
        assert answers == {"6 files with 6 matching lines\nB\na.b\na/b\nab\nz\né"}


class TestPatterns:
    LINES = "foo(bar) {\nFoo\ncafé 12\n-x --y\na\\b $HOME 'q' \"p\" `id`\na|b\n\tend \nx\n"

    FOUND = (
        ("foo", "1"),
        ("(?i)foo", "1 2"),
        (r"\(bar\)", "1"),
        (r"\) {", "1"),
        ("o{2}", "1 2"),
        ("o{2,3}?", "1 2"),
        ("^[A-Z]", "2"),
        (r"caf. \d+$", "3"),
        (r"\bcafé\b", "3"),
        (r"^\w{4} ", "3"),
        ("caf\\u00e9", "3"),
        ("caf\\x{e9}", "3"),
        ("-x", "4"),
        ("--y", "4"),
        (r"a\\b", "5"),
        (r"\$HOME", "5"),
        ("'q' \"p\" `id`", "5"),
        (r"a\|b", "6"),
        ("foo|x$", "1 8"),
        (r"^\s+end\s$", "7"),
        (r"\tend", "7"),
        (r"[\w(]+\(", "1"),
        (r"[^\x00-\x7f]", "3"),
        ("[]x[]$", "8"),
        ("[^-a-zA-Z0-9é (){|}$'\"`\\\\]", "7"),
        (r"(?:fo+|Fo+)\b", "1 2"),
        (r"(?P<name>ca)f", "3"),
        ("[[:upper:]]oo", "2"),
        ("[[:punct:]]bar", "1"),
        (r"\S{8}", "1"),
        (r"^\D+$", "1 2 4 5 6 7 8"),
        ("a??b", "1 5 6"),
        ("}", ""),
        ("{", "1"),
        ("x{,2}y", "4"),
    )

    async def test_each_program_finds_the_same_lines(self, desk: SearchDesk, programs: Programs) -> None:
        desk.write("f", self.LINES)
        lines = self.LINES.split("\n")
        wrong: list[str] = []
        for pattern, numbers in self.FOUND:
            expected = [f"{number}:{lines[int(number) - 1]}" for number in numbers.split()]
            found = (await desk.grep(pattern, path="f")).split("\n")[2:]
            is_known = programs == "busybox" and pattern in COUNTED_IN_BYTES
            wrong += [] if found == expected or is_known else [f"{pattern}: {found}"]
        assert wrong == []

    @pytest.mark.parametrize(
        ("case", "pattern", "numbers"),
        [
            ("sensitive", "FOO", ""), ("insensitive", "FOO", "1 2"), ("smart", "foo", "1 2"), ("smart", "Foo", "2"),
            ("smart", r"\Soo", "1 2"), ("insensitive", "CAFÉ", "3"),
        ],
    )  # fmt: skip
    async def test_case(self, desk: SearchDesk, programs: Programs, case: str, pattern: str, numbers: str) -> None:
        if programs == "busybox" and pattern in COUNTED_IN_BYTES:
            pytest.skip("this BusyBox counts bytes")
        desk.write("f", self.LINES)
        text = await desk.grep(pattern, path="f", case=case)
        assert [line.partition(":")[0] for line in text.split("\n")[2:]] == numbers.split()

    @pytest.mark.parametrize(
        ("pattern", "said"),
        [
            ("", "it is empty"),
            ("foo(", r"the parenthesis at character 4 is not closed; write \( for one itself"),
            ("foo)", r"the parenthesis at character 4 closes nothing; write \) for one itself"),
            ("[a", r"the bracket at character 1 is not closed; write \[ for one itself"),
            ("*.py", r"the * at character 1 has nothing to repeat; write \* for one itself"),
            ("a|+", r"the + at character 3 has nothing to repeat"),
            ("a++", r"the + at character 3 has nothing to repeat"),
            ("(?=a)", "groups that begin with (? and look around"),
            (r"(a)\1", r"\1 refers back to a group"),
            (r"\Aa", r"\A is not needed: ^ and $"),
            (r"a\n", "a search looks at one line at a time"),
            ("a\nb", "a search looks at one line at a time"),
            ("a\0b", "'\\x00' is in no text file"),
            ("a\ud800", "is in no text file"),
            ("a\\", "it ends with a backslash"),
            (r"\p{Klingon}", "needs a category of Unicode"),
            ("[z-a]", "the range that begins with 'z'"),
            ("[[:nope:]]", "there is no class [:nope:]"),
            ("foo[:space:]*bar", "the class [:space:] stands outside of a bracket; write [[:space:]]"),
            ("a{2000}", "{2000} is no repetition"),
            ("a{3,2}", "{3,2} is no repetition"),
            ("a" * 2001, "it has 2001 characters"),
        ],
    )
    async def test_a_pattern_that_is_none_is_explained(self, desk: SearchDesk, pattern: str, said: str) -> None:
        result = await desk.ask(Grep(), pattern=pattern)
        assert result.is_error
        assert result.text.startswith("The pattern `")
        assert said in result.text

    async def test_one_that_is_too_large_for_the_programs_is_explained(self, desk: SearchDesk) -> None:
        desk.write("f", "a\n")
        result = await desk.ask(Grep(), pattern="((a{1,90}b){1,90})+")
        assert result.is_error
        assert "with its repetitions written out it has more than 5000 parts" in result.text

    async def test_what_only_some_programs_can_do_is_explained(self, desk: SearchDesk, programs: Programs) -> None:
        desk.write("f", "Σx\n")
        result = await desk.ask(Grep(), pattern=r"\p{Lu}[\W\d]|\p{Sm}|(?i:σ)x")
        if programs == "busybox":
            assert result.is_error
            assert "cannot be searched for here" in result.text
        else:
            assert result.text == "1 matching line in 1 file\nf\n1:Σx"

    async def test_an_alternative_as_grep_has_it_is_hinted_at(self, desk: SearchDesk) -> None:
        assert (await desk.grep(r"a\|b")).endswith(r"`\|` is a bar itself; alternatives are written `a|b`.")


class TestWhatCannotBeSearched:
    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("missing", "missing cannot be searched: there is no such file or directory."),
            ("file/below", "file/below cannot be searched: there is no such file or directory."),
            ("pipe", "pipe cannot be searched: it is neither a file nor a directory."),
            ("binary", "binary is binary, and only text is searched."),
            ("a\0b", r"There is no path 'a\x00b'."),
        ],
    )
    async def test_places(self, desk: SearchDesk, path: str, said: str) -> None:
        desk.write("file", "x\n")
        desk.write("binary", b"\0x\n")
        os.mkfifo(desk.directory / "pipe")
        result = await desk.ask(Grep(), pattern="x", path=path)
        assert result.is_error
        assert result.text.endswith(said)

    @pytest.mark.parametrize("glob", ["[a", "{a", "!", "/", "a\nb", "[z-a]", "[[:alpha:]]", "a" * 501])
    async def test_globs(self, desk: SearchDesk, glob: str) -> None:
        result = await desk.ask(Glob(), pattern=glob)
        assert result.is_error
        assert "cannot be read: " in result.text

    async def test_a_file_is_no_place_for_glob(self, desk: SearchDesk) -> None:
        desk.write("f", "x\n")
        assert (await desk.glob("*", path="f")) == "f is a file; `path` is the directory to look in."

    async def test_names_that_look_like_something_else(self, desk: SearchDesk) -> None:
        names = [
            "-n",
            "--help",
            "a b",
            "$(touch ran)",
            "`touch ran`",
            "'q'",
            '"p"',
            "a;b",
            "x:1:y",
            "E",
            "T 1 2 x",
            "\\t",
            "é",
            "*",
        ]
        for name in names:
            desk.write(f"{name}/{name}", "x\n")
        found = sorted((f"{name}/{name}" for name in names), key=str.encode)
        assert (await desk.grep("x", output="files")).split("\n")[1:] == found
        for name in names:
            assert await desk.grep("x", path=name) == f"1 matching line in 1 file\n{name}/{name}\n1:x"
        assert not (desk.directory / "ran").exists()


async def test_without_the_usual_programs_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = programs_folder("grep", tmp_path / "programs")
    (path / "xargs").unlink()
    async with search_desk(tmp_path / "work", path, monkeypatch) as desk:
        assert await desk.grep("x") == f"{desk.directory} cannot be searched: there is no program xargs here."


@pytest.mark.parametrize("tool", [Grep(), Glob()])
def test_searching_changes_nothing(tool: Any) -> None:
    assert tool.access(tool.parameters.model_validate({"pattern": "x"})) == "read"

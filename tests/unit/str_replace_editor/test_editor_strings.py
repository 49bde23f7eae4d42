"""The editor whose parameters are strings and integers."""

from pathlib import Path

import pytest

from runners.local_sandbox import LocalSandbox
from tools.editor_strings import EditorStrings
from tools.str_replace_editor import StrReplaceEditor
from tools.tool import definition


def test_every_parameter_is_a_string_or_an_integer_and_the_rest_is_the_same() -> None:
    strings, ordinary = definition(EditorStrings())["function"], definition(StrReplaceEditor())["function"]
    properties = strings["parameters"]["properties"]
    assert list(properties) == list(ordinary["parameters"]["properties"])
    assert {field["type"] for field in properties.values()} == {"string", "integer"}
    for function in (strings, ordinary):
        del function["parameters"]["properties"]["view_range"]
    assert strings == ordinary


@pytest.mark.parametrize(
    ("view_range", "numbers"),
    [
        ("2-3", [2, 3]),
        ("2 - 3", [2, 3]),
        ("[2, 3]", [2, 3]),
        ("2-", [2, 3, 4]),
        ("2:end", [2, 3, 4]),
        ("[2, -1]", [2, 3, 4]),
        ("", [1, 2, 3, 4]),
        ([2, 3], [2, 3]),
    ],
)
async def test_a_range_of_lines_is_a_text(tmp_path: Path, view_range: object, numbers: list[int]) -> None:
    (tmp_path / "a.txt").write_text("1\n2\n3\n4\n")
    editor, sandbox = EditorStrings(), LocalSandbox(tmp_path)
    arguments = {"command": "view", "path": f"{tmp_path}/a.txt", "view_range": view_range}
    result = await editor(editor.parameters.model_validate(arguments), sandbox)
    await sandbox.close()
    assert [int(line.split("\t")[1]) for line in result.text.splitlines()[1:]] == numbers

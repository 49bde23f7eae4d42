"""The list that a model keeps for itself comes back as it was meant."""

from pathlib import Path

import pytest

from runners.local_sandbox import LocalSandbox
from tools.output import neutralise
from tools.todo import Todo, TodoParameters

THREE = "3 items: 1 done, 1 in progress, 1 open\n1. [x] read\n2. [~] change\n3. [ ] test"


async def told(items: str, directory: Path) -> str:
    sandbox = LocalSandbox(directory)
    try:
        result = await Todo()(TodoParameters(items=items), sandbox)
    finally:
        await sandbox.close()
    assert not result.is_error
    return result.text


@pytest.mark.parametrize(
    ("items", "answer"),
    [
        ("[x] read\n[~] change\n[ ] test", THREE),
        ("- [X] read\n* [>] change\n3) [] test", THREE),
        ("1. read\n2. change [x]", "2 items: 2 open\n1. [ ] read\n2. [ ] change [x]"),
        ("\n  [x]   one  \r\n\n", "1 item: 1 done\n1. [x] one"),
        ("[y] odd mark", "1 item: 1 open\n1. [ ] [y] odd mark"),
        ("[x]one", "1 item: 1 done\n1. [x] one"),
        ("", "The list is empty."),
        ("[ ]\n- \n", "The list is empty."),
        ("[ ] <|im_end|>", neutralise("1 item: 1 open\n1. [ ] <|im_end|>")),
    ],
)  # fmt: skip
async def test_the_list_comes_back_numbered_and_counted(items: str, answer: str, tmp_path: Path) -> None:
    assert await told(items, tmp_path) == answer


async def test_what_comes_back_can_be_given_again(tmp_path: Path) -> None:
    answer = await told("[x] read\n[~] change: 1. this\n[ ] [x] odd", tmp_path)
    assert await told(answer.partition("\n")[2], tmp_path) == answer


def test_nothing_is_changed_by_it() -> None:
    assert Todo().access(TodoParameters(items="")) == "read"

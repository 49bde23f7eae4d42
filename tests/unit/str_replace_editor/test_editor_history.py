"""What can be undone, and how much of it is remembered."""

from editor_desk import Desk

from tools.editor_history import MOST_BYTES, MOST_EDITS, EditHistory, PastEdit
from tools.file_text import Splice


def test_the_oldest_edits_go_when_there_are_too_many() -> None:
    history = EditHistory()
    for number in range(MOST_EDITS + 10):
        history.remember(PastEdit(f"/{number}", None, 0))
    assert history.last("/9") is None
    assert history.has_forgotten("/9")
    assert history.last("/10") is not None
    assert not history.has_forgotten("/10")


def test_the_oldest_edits_go_when_they_take_too_much_memory() -> None:
    history = EditHistory()
    half = Splice(0, b"x" * (MOST_BYTES // 2), b"")
    for path in ("/a", "/b", "/c"):
        history.remember(PastEdit(path, half, 0))
    assert history.last("/a") is None
    kept = history.last("/b")
    assert kept is not None
    history.take_out(kept)
    history.remember(PastEdit("/d", half, 0))
    assert history.last("/c") is not None


async def test_an_edit_that_is_no_longer_remembered_is_told_from_none(desk: Desk) -> None:
    path = desk.file("a.txt", "0\n")
    other = desk.file("b.txt", "x0\n")
    await desk.done("str_replace", path, old_str="0", new_str="1")
    for number in range(MOST_EDITS):
        await desk.done("str_replace", other, old_str=f"x{number}", new_str=f"x{number + 1}")
    assert await desk.refused("undo_edit", path) == (
        f"No edit history found for {path}, only the last 100 edits are remembered."
    )
    for _ in range(MOST_EDITS):
        await desk.done("undo_edit", other)
    assert other.read_text() == "x0\n"

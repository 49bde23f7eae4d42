"""What the editor did to each file, so that it can be taken back, in memory that does not grow."""

from collections import deque
from dataclasses import dataclass

from tools.file_text import Splice

MOST_EDITS = 100
MOST_BYTES = 64 * 1024 * 1024
"""Of texts that were taken out and put in, over all edits."""


@dataclass(frozen=True)
class PastEdit:
    """What it takes to undo an edit: the change (None: the file was created) and a digest of what it led to."""

    path: str
    change: Splice | None
    result: int

    @property
    def size(self) -> int:
        """Bytes that it takes to remember."""
        return len(self.change.removed) + len(self.change.added) if self.change else 0


class EditHistory:
    """The last edits, oldest first."""

    def __init__(self) -> None:
        self._edits: deque[PastEdit] = deque()
        self._size = 0
        self._forgotten: set[str] = set()

    def remember(self, edit: PastEdit) -> None:
        """Add an edit; the oldest ones go when there are too many."""
        self._edits.append(edit)
        self._size += edit.size
        while len(self._edits) > MOST_EDITS or self._size > MOST_BYTES:
            oldest = self._edits.popleft()
            self._size -= oldest.size
            self._forgotten.add(oldest.path)

    def last(self, path: str) -> PastEdit | None:
        """The last edit of a file that has not been undone."""
        return next((edit for edit in reversed(self._edits) if edit.path == path), None)

    def take_out(self, edit: PastEdit) -> None:
        """Forget an edit that has been undone."""
        self._edits.remove(edit)
        self._size -= edit.size

    def has_forgotten(self, path: str) -> bool:
        """Whether there were edits of this file that are no longer remembered."""
        return path in self._forgotten

"""The trajectory on disk: one event a line, written as it happens, read back one by one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from results.json_lines import encode_line, open_for_append, read_lines
from results.records.events import EVENT, Event


class TrajectoryWriter:
    """Appends events to a file; each is handed to the operating system before `write` returns.

    The work of a write depends on the size of its event alone, never on what was written before.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_for_append(path)

    def write(self, event: Event) -> None:
        """Append `event`. Raises OSError when the disk does not take it."""
        self._file.write(encode_line(event))
        self._file.flush()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def read_trajectory(path: Path, on_cut: Callable[[str], None] | None = None) -> Iterator[Event]:
    """The events of a trajectory in their order, read as they are asked for.

    A killed run may leave half a last line: it is passed over, and `on_cut` is told in a sentence.
    Raises DamagedFileError, which names file and line, for any other line that is no event; OSError where the file
    cannot be read.
    """
    return read_lines(path, EVENT, on_cut)

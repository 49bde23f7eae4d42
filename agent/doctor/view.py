"""Shows a person what the doctor finds, check by check: pass, fail, or cannot tell, and what mends it.

Whatever a server said is made visible first. In colour only at a terminal, and without NO_COLOR.
"""

import contextlib
import os
from typing import TextIO

from agent.dialects.registry import dialect_names, is_own
from agent.doctor.examination import recognised_by
from results.records.doctor import DoctorReport, Finding, Status
from results.records.events import BackendDescription
from results.visible_text import one_line, visible

_WORDS: dict[Status, str] = {"pass": "pass", "fail": "FAIL", "cannot_tell": "?"}
_COLOURS: dict[Status, str] = {"pass": "\x1b[32m", "fail": "\x1b[31m", "cannot_tell": "\x1b[33m"}
_DIM, _RESET, _ERASE = "\x1b[2m", "\x1b[0m", "\r\x1b[2K"
_WORD_WIDTH = 6
_TITLE_WIDTH = 32
_DETAIL = 600


class DoctorView:
    """Writes a line when a check begins, at a terminal, and replaces it by what was found.

    When nobody reads `out` any more, it falls silent.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._gone = False
        self._terminal = out.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self._terminal and not os.environ.get("NO_COLOR")
        if reconfigure := getattr(out, "reconfigure", None):
            reconfigure(errors="replace")

    def begin(self, backend: BackendDescription) -> None:
        """Say who is examined."""
        self._write(f"{visible(backend.model)} at {backend.base_url}\n")
        self._write(f"dialect {backend.dialect} ({visible(recognised_by(backend))})\n\n")

    def start(self, title: str) -> None:
        """Say what is being looked at."""
        if self._terminal:
            self._write(f"{'…':<{_WORD_WIDTH}}{title}")

    def show(self, finding: Finding) -> None:
        """A row of the table, and below it what is behind it."""
        if self._terminal:
            self._write(_ERASE)
        word = self._styled(f"{_WORDS[finding.status]:<{_WORD_WIDTH}}", _COLOURS[finding.status])
        self._write(f"{word}{finding.title:<{_TITLE_WIDTH}}{one_line(finding.answer)}\n")
        if finding.detail:
            self._below(one_line(finding.detail, _DETAIL))
        if finding.mend:
            self._write(f"{'':{_WORD_WIDTH}}mend: {visible(finding.mend)}\n")

    def end(self, report: DoctorReport) -> None:
        """The summary, whose last line says what the exit code says."""
        self._write(f"\n{summary(report)}\n")

    def _below(self, text: str) -> None:
        self._write(f"{'':{_WORD_WIDTH}}{self._styled(text, _DIM)}\n")

    def _styled(self, text: str, style: str) -> str:
        return f"{style}{text}{_RESET}" if self._colour else text

    def _write(self, text: str) -> None:
        if self._gone:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except BrokenPipeError:
            self._gone = True
            # What is still in its buffer would fail again at the end of the process.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())


def summary(report: DoctorReport) -> str:
    """How many passed and failed, where to read on, and whether thinking is lost."""
    counts = {status: sum(one.status == status for one in report.findings) for status in _WORDS}
    lines = [f"{counts['pass']} pass, {counts['fail']} fail, {counts['cannot_tell']} cannot tell"]
    if counts["fail"]:
        lines.append(f"how to launch this server well: docs/backends/{_page(report.backend.dialect)}.md")
    if report.lost:
        lines.append(f"earlier thinking is LOST: {', '.join(one.title for one in report.lost)} (exit 1)")
    elif counts["fail"]:
        lines.append("no earlier thinking was seen to be lost (exit 0, though something failed)")
    return "\n".join(lines)


def _page(dialect: str) -> str:
    """The page about it; a person's own dialect has none but the one about such dialects."""
    return dialect if dialect in dialect_names() and not is_own(dialect) else "own"

"""An editor at work in a folder of some sandbox, for the tests of what it promises in every sandbox."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.output import CHARACTER_LIMIT
from tools.sandbox import CommandResult, OutputListener, Sandbox, Terminal
from tools.str_replace_editor import StrReplaceEditor
from tools.tool import ToolResult

EDITED = (
    "The file {path} has been edited. Here's the result of running `cat -n` on a snippet of {path}:\n{snippet}\n"
    "Review the changes and make sure they are as expected. Edit the file again if necessary."
)
INSERTED = (
    "The file {path} has been edited. Here's the result of running `cat -n` on a snippet of the edited file:\n"
    "{snippet}\nReview the changes and make sure they are as expected (correct indentation, no duplicate lines, etc). "
    "Edit the file again if necessary."
)


class RecordingSandbox:
    """A real sandbox that counts the round trips to its files."""

    def __init__(self, inner: Sandbox) -> None:
        self._inner = inner
        self.round_trips: list[str] = []

    @property
    def working_directory(self) -> str:
        return self._inner.working_directory

    @property
    def scratch_directory(self) -> str:
        return self._inner.scratch_directory

    async def shell(
        self, command: str, *, timeout: float, on_output: OutputListener | None = None, keep_at: str | None = None
    ) -> CommandResult:
        raise AssertionError("the editor leaves the agent's shell alone")

    async def exec(
        self,
        command: str,
        *,
        timeout: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> CommandResult:
        self.round_trips.append("exec")
        return await self._inner.exec(command, timeout=timeout, stdin=stdin, environment=environment, user=user)

    async def open_terminal(self, command: str, *, columns: int, rows: int, directory: str | None = None) -> Terminal:
        return await self._inner.open_terminal(command, columns=columns, rows=rows, directory=directory)

    async def kill_tree(self, process_id: int) -> None:
        await self._inner.kill_tree(process_id)

    async def read_bytes(self, path: str, *, limit: int | None = None) -> bytes:
        self.round_trips.append("read")
        return await self._inner.read_bytes(path, limit=limit)

    async def write_bytes(self, path: str, data: bytes) -> None:
        self.round_trips.append("write")
        await self._inner.write_bytes(path, data)

    async def upload(self, source: Path, target: str) -> None:
        await self._inner.upload(source, target)

    async def download(self, source: str, target: Path) -> None:
        await self._inner.download(source, target)

    async def close(self) -> None:
        await self._inner.close()


class EditorDesk:
    """An editor at work in a folder of some sandbox."""

    def __init__(self, sandbox: Sandbox, folder: str) -> None:
        self.inner = sandbox
        self.sandbox = RecordingSandbox(sandbox)
        self.folder = folder
        self.editor = StrReplaceEditor()

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    async def file(self, name: str, content: bytes | str) -> str:
        data = content.encode() if isinstance(content, str) else content
        await self.inner.write_bytes(self.path(name), data)
        return self.path(name)

    async def content(self, path: str) -> bytes:
        return await self.inner.read_bytes(path)

    async def run(self, command: str) -> str:
        """Run a command in the folder; what it prints, which is an error unless it exits with 0."""
        result = await self.inner.exec(f"mkdir -p {self.folder} && cd {self.folder} && {{ {command}\n}}", timeout=60)
        assert result.exit_code == 0, result.output
        return result.output.decode()

    async def __call__(self, command: str, path: str, **arguments: Any) -> ToolResult:
        parameters = self.editor.parameters.model_validate({"command": command, "path": path, **arguments})
        self.sandbox.round_trips.clear()
        result = await self.editor(parameters, self.sandbox)
        result.text.encode()  # what a model is sent is valid Unicode
        assert len(result.text) < 2 * CHARACTER_LIMIT
        return result

    async def done(self, command: str, path: str, *, trips: int = 2, **arguments: Any) -> str:
        """Do what works, in so many round trips at most."""
        result = await self(command, path, **arguments)
        assert not result.is_error, result.text
        assert len(self.sandbox.round_trips) <= trips, self.sandbox.round_trips
        return result.text

    async def refused(self, command: str, path: str, **arguments: Any) -> str:
        result = await self(command, path, **arguments)
        assert result.is_error, result.text
        return result.text

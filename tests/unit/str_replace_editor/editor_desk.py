"""An editor at work in a real directory, for its tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runners.local_sandbox import LocalSandbox
from tools.editor_parameters import EditorParameters
from tools.sandbox import CommandResult
from tools.str_replace_editor import StrReplaceEditor
from tools.tool import ToolResult

TEN_LINES = "".join(f"line {number}\n" for number in range(1, 11))


class CountingSandbox(LocalSandbox):
    """Counts the round trips that a call takes."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.round_trips = 0

    async def exec(
        self,
        command: str,
        *,
        timeout: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> CommandResult:
        self.round_trips += 1
        return await super().exec(command, timeout=timeout, stdin=stdin, environment=environment, user=user)

    async def read_bytes(self, path: str, *, limit: int | None = None) -> bytes:
        self.round_trips += 1
        return await super().read_bytes(path, limit=limit)

    async def write_bytes(self, path: str, data: bytes) -> None:
        self.round_trips += 1
        await super().write_bytes(path, data)


class Desk:
    """An editor at work in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sandbox = CountingSandbox(directory)
        self.editor = StrReplaceEditor()

    async def __call__(self, command: str, path: Path | str, **arguments: Any) -> ToolResult:
        parameters = EditorParameters.model_validate({"command": command, "path": str(path), **arguments})
        self.sandbox.round_trips = 0
        result = await self.editor(parameters, self.sandbox)
        assert self.sandbox.round_trips <= (3 if result.is_error else 2)  # a failure is looked into
        result.text.encode()  # what a model is sent is valid Unicode
        return result

    async def done(self, command: str, path: Path | str, **arguments: Any) -> str:
        result = await self(command, path, **arguments)
        assert not result.is_error, result.text
        return result.text

    async def refused(self, command: str, path: Path | str, **arguments: Any) -> str:
        result = await self(command, path, **arguments)
        assert result.is_error, result.text
        return result.text

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

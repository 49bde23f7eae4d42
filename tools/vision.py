"""The `view_picture` tool: shows the model a picture, in toolsets whose editor does not, or which have none."""

import asyncio
import re
from pathlib import PurePosixPath

from pydantic import Field

from tools.output import neutralise, restore
from tools.parameters import Parameters
from tools.pictures import PictureError, read_picture
from tools.sandbox import OutputListener, Sandbox
from tools.tool import Access, ToolResult

FILE_LIMIT = 100 * 1024 * 1024
"""Bytes; a larger file is refused."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class ViewPictureParameters(Parameters):
    """What a call of `view_picture` takes."""

    path: str = Field(description="The path of a picture: PNG, JPEG, WebP, GIF, BMP or TIFF.")


class ViewPicture:
    """Shows a picture, made smaller where it has to be."""

    name = "view_picture"
    description = "Look at a picture in a file: a screenshot, a plot, a diagram. A large one is made smaller first."
    parameters = ViewPictureParameters

    def access(self, arguments: ViewPictureParameters) -> Access:  # noqa: ARG002
        """Say that nothing is changed."""
        return "read"

    async def __call__(
        self,
        arguments: ViewPictureParameters,
        sandbox: Sandbox,
        on_output: OutputListener | None = None,  # noqa: ARG002 - nothing here comes out bit by bit
    ) -> ToolResult:
        """Show it, or explain why it cannot be shown."""
        path = restore(arguments.path)
        if "\0" in path or _LONE_SURROGATE.search(path):
            return _refusal(ascii(path), "no file can have this name")
        path = str(PurePosixPath(sandbox.working_directory, path))
        try:
            data = await sandbox.read_bytes(path, limit=FILE_LIMIT + 1)
            if len(data) > FILE_LIMIT:
                return _refusal(path, "it is larger than 100 MB")
            picture = await asyncio.to_thread(read_picture, data)  # a large one takes seconds
        except FileNotFoundError:
            return _refusal(path, "there is no such file")
        except IsADirectoryError:
            return _refusal(path, "it is a directory")
        except OSError as error:
            return _refusal(path, error.strerror or type(error).__name__)
        except PictureError as error:
            return _refusal(path, str(error))
        shown = f"The picture {path}, shown at {picture.width} × {picture.height} pixels."
        return ToolResult(neutralise(shown), pictures=(picture,))


def _refusal(path: str, reason: str) -> ToolResult:
    return ToolResult(neutralise(f"The file {path} cannot be shown: {reason}."), is_error=True)

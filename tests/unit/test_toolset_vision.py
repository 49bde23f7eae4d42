"""`view_picture` shows what is a picture, and says why it does not show the rest."""

import io
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from PIL import Image

from runners.local_sandbox import LocalSandbox
from tools.output import neutralise
from tools.pictures import LONGEST_SIDE
from tools.tool import ToolResult
from tools.vision import FILE_LIMIT, ViewPicture, ViewPictureParameters


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncGenerator[LocalSandbox]:
    opened = LocalSandbox(tmp_path)
    yield opened
    await opened.close()


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(target, kind)
    return target.getvalue()


async def view(path: str, sandbox: LocalSandbox) -> ToolResult:
    return await ViewPicture()(ViewPictureParameters(path=path), sandbox)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
async def test_a_picture_is_shown(tmp_path: Path, sandbox: LocalSandbox, kind: str) -> None:
    (tmp_path / "a b.bin").write_bytes(picture(30, 20, kind))
    for path in ("a b.bin", str(tmp_path / "a b.bin")):
        result = await view(path, sandbox)
        assert result.text == f"The picture {tmp_path}/a b.bin, shown at 30 × 20 pixels."
        assert [(shown.width, shown.height) for shown in result.pictures] == [(30, 20)]


async def test_a_large_one_is_made_smaller(tmp_path: Path, sandbox: LocalSandbox) -> None:
    (tmp_path / "large.png").write_bytes(picture(4 * LONGEST_SIDE, 400))
    result = await view("large.png", sandbox)
    assert result.pictures[0].width == LONGEST_SIDE


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing.png", "there is no such file."),
        (".", "it is a directory."),
        ("text.png", "it is no picture that can be read."),
        ("paper.pdf", "it is a PDF, and only pictures"),
        ("large", "it is larger than 100 MB."),
        ("text.png/below", "Not a directory."),
        ("a\0b", "no file can have this name."),
        ("\ud800", "no file can have this name."),
    ],
)
async def test_what_cannot_be_shown_is_explained(tmp_path: Path, sandbox: LocalSandbox, path: str, reason: str) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7")
    with (tmp_path / "large").open("wb") as file:
        os.truncate(file.fileno(), FILE_LIMIT + 1)
    result = await view(path, sandbox)
    assert (result.is_error, result.pictures) == (True, ())
    assert f" cannot be shown: {reason}" in result.text
    assert result.text.encode()


async def test_a_name_that_was_defused_is_the_one_that_is_meant(tmp_path: Path, sandbox: LocalSandbox) -> None:
    (tmp_path / "<think>.png").write_bytes(picture(3, 3))
    result = await view(neutralise("<think>.png"), sandbox)
    assert result.text == neutralise(f"The picture {tmp_path}/<think>.png, shown at 3 × 3 pixels.")

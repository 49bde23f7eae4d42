"""Pictures: made smaller once, the same bytes ever after, and refused by name where they cannot go."""

import base64
import io
import os
from pathlib import Path

import pytest
from PIL import Image

from tools.pictures import LONGEST_SIDE, PictureError, is_picture, other_medium, read_picture


def encoded(width: int, height: int, kind: str = "PNG") -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(target, kind)
    return target.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_small_picture_stays_as_it_is(kind: str) -> None:
    data = encoded(40, 20, kind)
    picture = read_picture(data)
    assert (picture.data, picture.width, picture.height) == (data, 40, 20)
    assert picture.media_type == f"image/{kind.lower()}"


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_what_not_every_server_takes_becomes_png(kind: str) -> None:
    data = encoded(40, 20, kind)
    assert is_picture(data)
    picture = read_picture(data)
    assert picture.media_type == "image/png"
    assert Image.open(io.BytesIO(picture.data)).size == (40, 20)


def test_a_large_picture_is_made_smaller_and_always_to_the_same_bytes() -> None:
    data = encoded(4_000, 1_000)
    first, second = read_picture(data), read_picture(data)
    assert (first.width, first.height) == (LONGEST_SIDE, LONGEST_SIDE // 4)
    assert first == second
    assert base64.b64decode(first.url.partition(",")[2]) == first.data


@pytest.mark.parametrize(
    ("data", "medium"),
    [
        (b"%PDF-1.7\n...", "PDF"),
        (b"\0\0\0\x20ftypisom....", "video"),
        (b"\x1aE\xdf\xa3webm", "video"),
        (b"RIFF\x10\0\0\0AVI LIST", "video"),
    ],
)
def test_pdf_and_video_are_refused_by_name(data: bytes, medium: str) -> None:
    assert other_medium(data) == medium
    assert not is_picture(data)
    with pytest.raises(PictureError, match=medium):
        read_picture(data)


@pytest.mark.parametrize(
    "text",
    [b"BMI calculator\nweight = 70\n", b"let ftyp = 3;\n", b"int ftype(void);\n", b"OggSquish\n", b"RIFF-RAFF AVI \n"],
)
def test_a_text_that_begins_like_one_is_a_text(text: bytes) -> None:
    assert not is_picture(text)
    assert other_medium(text) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_half_a_picture_is_none(kind: str) -> None:
    target = io.BytesIO()
    Image.effect_noise((200, 200), 60).convert("RGB").save(target, kind)
    with pytest.raises(PictureError):
        read_picture(target.getvalue()[: len(target.getvalue()) // 2])


def test_what_is_none_is_said_in_words_for_a_person() -> None:
    with pytest.raises(PictureError, match="no picture that can be read") as caught:
        read_picture(b"plain text, whatever its name")
    assert "0x" not in str(caught.value)


def test_one_that_vision_models_refuse_is_refused_here() -> None:
    with pytest.raises(PictureError, match="slender"):
        read_picture(encoded(1_000, 4))
    assert read_picture(encoded(800, 4)).width == 800


def test_what_stands_behind_the_pixels_is_not_sent_with_every_request() -> None:
    picture = read_picture(encoded(64, 64) + bytes(5_000_000))
    assert (picture.width, picture.height, len(picture.data) < 100_000) == (64, 64, True)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


def test_no_program_is_started_to_read_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(PictureError):
        read_picture(EPS)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("data", [b"", b"text", encoded(30, 30)[:60], b"\x89PNG\r\n\x1a\n", EPS])
def test_what_is_no_picture_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(PictureError):
        read_picture(data)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    target = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(target, "PNG")
    with pytest.raises(PictureError, match=r"too many|bomb"):
        read_picture(target.getvalue())

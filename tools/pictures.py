"""Pictures for a model: recognised by their bytes, made smaller once, and the same bytes ever after.

A picture stands in every later prompt, and one that is encoded anew is another one to a server's cache.
"""

import base64
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import PIL.Image

LONGEST_SIDE = 1_536
"""Pixels. Qwen's vision models see patches of 32 × 32 pixels, so this is at most 2,304 tokens; larger pictures cost
more context than a coding agent gets out of them."""

PATCH = 32
"""Pixels of one side of the square that becomes one token (Qwen3-VL: patches of 16, merged two by two)."""

MOST_BYTES = 4_000_000
"""Of a picture that is sent as it is: what stands behind its pixels would be sent with every request."""
MOST_PIXELS = 100_000_000
"""A picture of more is refused: to unpack it takes gigabytes."""

_KEPT_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_READ_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""No others: to read an EPS, Pillow starts Ghostscript on this machine."""
"""Formats that every server which takes pictures takes; others become PNG."""

MOST_SLENDER = 200
"""A picture whose sides differ by more is refused: Qwen's preprocessing raises for it (`smart_resize` of Qwen2-VL in
transformers), and a request that holds it fails for ever."""

# A text may begin with "BM", hence the reserved bytes of a bitmap.
_PICTURE = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|II\*\x00|MM\x00\*|RIFF.{4}WEBP|BM.{4}\x00{4}", re.DOTALL
)
_NOT_TAKEN = {
    "PDF": re.compile(rb"%PDF-"),
    "video": re.compile(
        rb"\x00.{3}ftyp|\x1aE\xdf\xa3|OggS\x00|FLV\x01|\x00\x00\x01\xba|RIFF.{4}AVI ",
        re.DOTALL,
    ),
}


class PictureError(ValueError):
    """The bytes are no picture that can be shown; the message says why, and what to do."""


@dataclass(frozen=True)
class Picture:
    """A picture as it is sent."""

    media_type: str
    data: bytes
    width: int
    height: int

    @property
    def url(self) -> str:
        """The picture as a data URL."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"

    @property
    def tokens(self) -> int:
        """About how many tokens of the prompt it takes."""
        return -(-self.width // PATCH) * -(-self.height // PATCH) + 2


def is_picture(data: bytes) -> bool:
    """Whether the bytes begin like a picture."""
    return _PICTURE.match(data) is not None


def other_medium(data: bytes) -> str | None:
    """`PDF` or `video` for what looks as if it could be shown, and cannot."""
    return next((medium for medium, magic in _NOT_TAKEN.items() if magic.match(data)), None)


def read_picture(data: bytes) -> Picture:
    """Read a picture, and make it smaller if it has to be. Raises PictureError."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if medium := other_medium(data):
        message = f"it is a {medium}, and only pictures can be shown (PNG, JPEG, WebP, GIF)"
        raise PictureError(message)
    try:
        with Image.open(io.BytesIO(data), formats=_READ_FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                message = f"it has {picture.width} × {picture.height} pixels, which is too many"
                raise PictureError(message)
            if max(picture.size) > MOST_SLENDER * min(picture.size):
                message = f"it has {picture.width} × {picture.height} pixels, which is too slender; cut a part out"
                raise PictureError(message)
            media_type = _KEPT_FORMATS.get(picture.format or "")
            if media_type and max(picture.size) <= LONGEST_SIDE and len(data) <= MOST_BYTES:
                picture.load()  # all of it, since what a server cannot read fails every request from here on
                return Picture(media_type, data, *picture.size)
            upright = ImageOps.exif_transpose(picture)
            return _encoded(upright)
    except PictureError:
        raise
    except UnidentifiedImageError as error:  # its own words name an object in memory
        raise PictureError("it is no picture that can be read") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        message = f"it is no picture that can be read: {error}"
        raise PictureError(message) from error


def _encoded(picture: "PIL.Image.Image") -> Picture:
    from PIL.Image import Resampling

    shown = picture.convert("RGBA" if "A" in picture.getbands() or "transparency" in picture.info else "RGB")
    shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Resampling.LANCZOS)
    target = io.BytesIO()
    shown.save(target, "PNG")
    return Picture("image/png", target.getvalue(), *shown.size)

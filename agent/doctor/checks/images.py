"""Whether the model sees pictures."""

import base64
import random
import struct
import zlib

from agent.backend import BackendError, BackendUnreachableError
from agent.conversation import Conversation
from agent.doctor.check import Answer, passed, unsure
from agent.doctor.patient import Patient
from results.records.events import Message

_COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
_SIDE = 64
_BLIND: Message = {"role": "user", "content": "Say yes."}


async def images(patient: Patient) -> Answer:
    """Pictures of one colour each, which the model is to name. That it sees none is no failure."""
    if not patient.dialect.images.user:
        return passed("no vision", "this API takes no pictures")
    if patient.description.vision is False:
        return passed("no vision", "the server says so")
    # Two, since a model that sees nothing may still guess one colour.
    for colour in random.sample(list(_COLOURS), 2):
        try:
            reply = await patient.ask(_conversation(patient, colour), thinking=False)
        except BackendUnreachableError:
            raise
        except BackendError as error:
            # Raises, where it is not the picture that is refused.
            await patient.ask(patient.conversation([_BLIND], thinking=False, max_output=16), thinking=False)
            return passed("no vision", str(error))
        said = {name for name in _COLOURS if name in reply.text.casefold()}
        if said != {colour}:
            return unsure(f"a picture was taken, but {colour}, its only colour, was not named")
    return passed("sees", "it named the colours of two pictures")


def _conversation(patient: Patient, colour: str) -> Conversation:
    return patient.conversation([_question(colour)], thinking=False, max_output=256)


def _question(colour: str) -> Message:
    address = f"data:image/png;base64,{base64.b64encode(picture(_COLOURS[colour])).decode()}"
    text = "Which colour has this picture? Answer with one word."
    return {
        "role": "user",
        "content": [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": address}}],
    }


def picture(colour: tuple[int, int, int]) -> bytes:
    """A PNG of one colour."""
    row = b"\0" + bytes(colour) * _SIDE
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(row * _SIDE)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

"""The columns of SWE-bench rows that come in several spellings: lists of test ids, and names of images.

What is read here comes from files of others: nothing is ever evaluated, and sizes are limited.
"""

import ast
import json
import re
from typing import Any, cast

LONGEST_LIST = 4 * 2**20
"""Characters of a list of test ids. The longest of SWE-bench Verified has 2,476 ids in 271,350 characters."""

_LONGEST_TAG = 128
_PRO_IMAGES = "jefzda/sweap-images"
# The one image of element-web that was published under the repository's full name, its suffix included.
_PRO_EXCEPTION = "instance_element-hq__element-web-ec0f940ef0e8e3b61078f145f34dc40d1938e6c5-vnan"


class DatasetError(ValueError):
    """A dataset cannot be had, or is none, or a selection leaves nothing of it."""


def parse_ids(value: object) -> list[str]:
    """The test ids in a list, in a string of JSON, or in a string as Python prints a list; none in an empty string.

    Raises ValueError that says what is wrong, without the row and the column, which the caller knows.
    """
    found = _from_text(value) if isinstance(value, str) else value
    if not isinstance(found, list):
        message = f"is {type(cast('Any', found)).__name__}, not a list of test ids"
        raise ValueError(message)  # noqa: TRY004 (pydantic passes only a ValueError on)
    ids = cast("list[Any]", found)
    for position, item in enumerate(ids):
        if not isinstance(item, str):
            message = f"holds {item!r:.40} at position {position}, where a test id should be"
            raise ValueError(message)  # noqa: TRY004
    return ids


def is_json(text: str) -> bool:
    """Whether swebench's own `json.loads` understands `text`."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def swebench_image(instance_id: str) -> str:
    """The name under which SWE-bench's image of an instance is published (`ImageSpec.name` of swebench 5.0.2)."""
    return f"swebench/sweb.eval.x86_64.{instance_id}:latest".replace("__", "_1776_").lower()


def pullable_image(image: str | None, instance_id: str) -> str:
    """The published name in place of one without a namespace, as dataset revision 6ddacb0 and local builds have it.

    A name that has nothing to do with the instance is somebody's own image and stays: nobody published that.
    """
    if not image:
        return swebench_image(instance_id)
    spelled = image.lower().replace("_1776_", "__")
    return swebench_image(instance_id) if "/" not in image and instance_id.lower() in spelled else image


def pro_image(instance_id: str, repository: str, tag: str | None) -> str:
    """The name of an image of SWE-bench Pro; without the column `dockerhub_tag`, by the rule of its evaluation.

    The rule is `helper_code/image_uri.py` of scaleapi/SWE-bench_Pro-os at ca10a60.
    """
    return f"{_PRO_IMAGES}:{tag or _pro_tag(instance_id, repository)}"


def _pro_tag(instance_id: str, repository: str) -> str:
    owner, _, name = repository.lower().partition("/")
    rest = instance_id.replace("instance_", "")
    if instance_id != _PRO_EXCEPTION:
        rest = rest.removesuffix("-vnan")
        name = "element" if owner == "element-hq" and name == "element-web" else name
    return f"{owner}.{name}-{rest}"[:_LONGEST_TAG]


def _from_text(text: str) -> Any:
    if len(text) > LONGEST_LIST:
        message = f"has {len(text)} characters; no list of test ids is longer than {LONGEST_LIST}"
        raise ValueError(message)
    if not text.strip():
        return []
    # JSON first: what Python prints for a list of strings is either no JSON or means the same there.
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        shown = re.sub(r"\s+", " ", text[:60])
        message = f"is a list neither in JSON nor in Python: {shown}{'…' if len(text) > len(shown) else ''}"
        raise ValueError(message) from None

"""Predictions of any tool: which patch was made for which instance, in the spellings of swebench and of SWE-bench Pro.

A file is a list or an object by id (`.json`), or one object a line (`.jsonl`). The patch stands under `model_patch`
(swebench) or `patch` (Pro), the name of who made it under `model_name_or_path`, `prefix` (Pro) or `model`. The
denominator is always the dataset: what a file leaves out is missing, and counts as not resolved.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, cast

from evals.swebench.dataset import Dataset
from evals.swebench.rows import AnyRow

MISSING = "the predictions say nothing of this task"
"""What the record of a task says that counts as not resolved for want of a prediction."""
_SHOWN_IDS = 5
_PATCH_KEYS = ("model_patch", "patch")
_MODEL_KEYS = ("model_name_or_path", "prefix", "model")


class PredictionsError(ValueError):
    """A file holds no predictions, or such as do not fit the dataset."""


@dataclass(frozen=True)
class Prediction:
    """A patch for an instance, byte for byte; empty where the tool made none. `model` is None where nobody says."""

    instance_id: str
    patch: bytes
    model: str | None


@dataclass(frozen=True)
class Paired(Generic[AnyRow]):
    """A dataset's rows in their order, each with what was predicted for it."""

    rows: Sequence[tuple[AnyRow, Prediction | None]]
    not_selected: Sequence[str] = ()
    """The ids of predictions for tasks that nobody asked for."""

    @property
    def missing(self) -> list[str]:
        """The ids of the rows that the file leaves out."""
        return [row.instance_id for row, prediction in self.rows if prediction is None]


def read_predictions(path: Path) -> dict[str, Prediction]:
    """The predictions of a file by id, in its order.

    Raises PredictionsError, which names the file and the entry, for one that cannot be read or that stands twice.
    """
    found: dict[str, Prediction] = {}
    for place, entry in _entries(path):
        prediction = _prediction(entry, f"{place} of {path}")
        if prediction.instance_id in found:
            message = f"{place} of {path} is a second prediction for {prediction.instance_id}: leave one in the file"
            raise PredictionsError(message)
        found[prediction.instance_id] = prediction
    if not found:
        message = f"{path} holds no predictions"
        raise PredictionsError(message)
    return found


def pair(
    selected: Dataset[AnyRow], predictions: Mapping[str, Prediction], known: Collection[str] | None = None
) -> Paired[AnyRow]:
    """Every row that was selected with its prediction.

    `known` are the ids of the whole dataset, where more than was selected. Raises PredictionsError for predictions of
    tasks that are in neither.
    """
    ids = [row.instance_id for row in selected.rows]
    others = set(predictions).difference(ids)
    if unknown := sorted(others.difference(known or ())):
        raise PredictionsError(_explain_unknown(unknown, [*dict.fromkeys([*ids, *(known or ())])], selected.source))
    return Paired([(row, predictions.get(row.instance_id)) for row in selected.rows], sorted(others))


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Each entry, and where it stands."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"the predictions in {path} cannot be read: {error}"
        raise PredictionsError(message) from error
    if path.suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield f"line {number}", _parsed(line, f"line {number} of {path}")
        return
    whole = _parsed(text, str(path))
    if isinstance(whole, list):
        yield from ((f"entry {number}", entry) for number, entry in enumerate(cast("list[Any]", whole), start=1))
    elif isinstance(whole, dict):
        yield from _entries_by_id(cast("dict[str, Any]", whole), path)
    else:
        message = f"{path} holds no predictions: give a list, or an object by id"
        raise PredictionsError(message)


def _entries_by_id(whole: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
    for identifier, entry in whole.items():
        place = f"entry {identifier!r}"
        if not isinstance(entry, dict):
            message = f"{place} of {path} is no prediction: it is no object"
            raise PredictionsError(message)
        fields = {"instance_id": identifier, **cast("dict[str, Any]", entry)}
        if fields["instance_id"] != identifier:
            message = f"{place} of {path} says that it is for {fields['instance_id']!r}"
            raise PredictionsError(message)
        yield place, fields


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object_without_doubles)
    except (ValueError, RecursionError) as error:
        message = f"{where} is no JSON: {error}" if not isinstance(error, _DoubleKeyError) else f"{where}: {error}"
        raise PredictionsError(message) from error


class _DoubleKeyError(ValueError):
    pass


def _object_without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; JSON's own reader would let the last of two equal keys win in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        message = f"{double!r} stands in one object twice"
        raise _DoubleKeyError(message)
    return found


def _prediction(entry: Any, where: str) -> Prediction:
    if not isinstance(entry, dict):
        message = f"{where} is no prediction: it is no object"
        raise PredictionsError(message)
    fields = cast("dict[str, Any]", entry)
    identifier = fields.get("instance_id")
    if not isinstance(identifier, str) or not identifier:
        message = f"{where} has no instance_id"
        raise PredictionsError(message)
    where = f"{where} ({identifier})"
    key = next((key for key in _PATCH_KEYS if key in fields), None)
    if key is None:
        message = f"{where} has no patch: it stands under `model_patch`, or under `patch` in the spelling of Pro"
        raise PredictionsError(message)
    model = next((str(fields[key]) for key in _MODEL_KEYS if fields.get(key) is not None), None)
    for name in filter(None, (identifier, model)):
        _require_text(name, where)
    return Prediction(identifier, _patch_bytes(fields[key], f"{where}: {key}"), model)


def _require_text(name: str, where: str) -> None:
    """Raise PredictionsError for a name that could not be written down again for anybody but Python."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        message = f"{where} has a name with half a surrogate pair in it, which is no text: {name!r}"
        raise PredictionsError(message) from error


def _patch_bytes(value: Any, where: str) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, str):
        message = f"{where} is no text, but of the type {type(value).__name__}"
        raise PredictionsError(message)
    try:
        # Half surrogate pairs of this one kind are how Python spells bytes that are no UTF-8.
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        message = f"{where} has half a surrogate pair at character {error.start}, which is no text"
        raise PredictionsError(message) from error


def _explain_unknown(unknown: Sequence[str], ids: Sequence[str], source: str) -> str:
    shown: list[str] = []
    for one in unknown[:_SHOWN_IDS]:
        close = get_close_matches(one, ids, n=1)
        shown.append(f"{one!r}{f' (close to it: {close[0]})' if close else ''}")
    more = f" and {len(unknown) - _SHOWN_IDS} more" if len(unknown) > _SHOWN_IDS else ""
    are = "are predictions for instances" if len(unknown) > 1 else "is a prediction for an instance"
    return f"there {are} that {source} does not have: {', '.join(shown)}{more}"

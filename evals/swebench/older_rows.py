"""Rows of swebench 4.x made gradable: the columns they lack, taken from a newer dataset of the same instances.

Nothing is guessed. A newer row lends its columns only where it has the same base commit and the same test patch, since
its eval script has both written into it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from evals.swebench.columns import DatasetError
from evals.swebench.rows import V5_COLUMNS, Row, lacks_v5_columns

_THE_SAME = ("base_commit", "test_patch")


def completed(records: Sequence[Any], newer: Sequence[Row], newer_source: str) -> list[Any]:
    """The records, those of 4.x with the columns that they lack. Raises DatasetError where `newer` has no equal row."""
    lenders = {row.instance_id: row for row in newer}
    return [_completed(record, lenders, newer_source) if lacks_v5_columns(record) else record for record in records]


def _completed(record: Mapping[str, Any], lenders: Mapping[str, Row], source: str) -> dict[str, Any]:
    name = record["instance_id"]
    lender = lenders.get(name)
    if lender is None:
        message = f"{source} has no {name}, so the columns that it lacks cannot be taken from there"
        raise DatasetError(message)
    for column in _THE_SAME:
        if record.get(column) != getattr(lender, column):
            message = f"the {column} of {name} is another one in {source}, so its eval script is for another row"
            raise DatasetError(message)
    lent = {column: getattr(lender, column) for column in V5_COLUMNS if record.get(column) is None}
    return {**record, **lent}

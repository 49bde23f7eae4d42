"""What the parameters of our own tools have in common."""

from typing import Any

from pydantic import BaseModel, model_validator


class Parameters(BaseModel):
    """Parameters of a tool. Models write `null` for what they leave out, so that is what it means."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}  # pyright: ignore[reportUnknownVariableType]

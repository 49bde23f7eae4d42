"""What all records share."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A part of a file on disk. Frozen; a field that a later version added is ignored when read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

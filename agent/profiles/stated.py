"""A value that says where it comes from."""

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = TypeVar("Kind")


class Cells(BaseModel):
    """A table in a TOML file, in which a key that nobody knows is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Stated(Cells, Generic[Kind]):
    """A value with exactly one of its two origins: a publication that says so, or a choice of ours and its reason."""

    value: Kind
    published: str | None = Field(default=None, min_length=1)
    """The source."""
    ours: str | None = Field(default=None, min_length=1)
    """Why, since the publication is silent."""

    @model_validator(mode="after")
    def _has_one_origin(self) -> "Stated[Kind]":
        if (self.published is None) == (self.ours is None):
            raise ValueError('a value is either published = "source" or ours = "why"')
        return self

    @property
    def origin(self) -> str:
        """`published: …`, or `ours: …`, as it goes into the manifest."""
        return f"published: {self.published}" if self.published else f"ours: {self.ours}"


class Sampling(Cells):
    """How the next token is drawn. A value that is not there is left to the server."""

    temperature: Stated[float] | None = None
    top_p: Stated[float] | None = None
    top_k: Stated[int] | None = None
    min_p: Stated[float] | None = None
    presence_penalty: Stated[float] | None = None
    repetition_penalty: Stated[float] | None = None

    def values(self) -> "dict[str, Stated[float] | Stated[int]]":
        """Those that are there, by our names."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in named.items() if value is not None}


AgentName = Literal["default", "gold", "nop", "terminus"]

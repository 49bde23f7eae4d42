"""What the model sees of our tools survives any chat template, and does not change unseen.

Templates render past calls anew: a string and a plain integer come out with the same bytes, an array or a boolean in
each template's own way. So our own tools take nothing else, but for the one array that models were trained on.
"""

from typing import Any

import pytest

from tools.tool import explain_invalid_arguments, what_it_takes
from tools.toolset import ADDITIONS, definitions, make_toolset, toolset_sha256

EVERYTHING = "+".join(ADDITIONS)
SETS = ["bash", "bash+editor", "editor-strings", *(f"bash+{addition}" for addition in ADDITIONS)]
FUNCTIONS = {
    f"{name}: {definition['function']['name']}": definition["function"]
    for name in SETS
    for definition in definitions(make_toolset(name))
}

PROMPTS = {
    "bash": "9ea7da4fb22c",
    "bash+editor": "9bc08ad0f1d6",
    "editor-strings": "6b093ae35131",
    "bash+search": "92f40b5b0a77",
    "bash+terminal": "e60553fc5cc5",
    "bash+vision": "9e90b2789e8d",
    "bash+todo": "02f34e8feb9b",
    "bash+submit": "81a581ed79d3",
}
"""The beginning of the hash of what each set has besides `bash`. To change one is to change the prompt, and every score
that is made with it."""


def schemas_within(schema: Any) -> list[dict[str, Any]]:
    """A schema, and every one that is part of it."""
    if isinstance(schema, list):
        return [found for part in schema for found in schemas_within(part)]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(schema, dict):
        return []
    return [schema, *(found for part in schema.values() for found in schemas_within(part))]  # pyright: ignore[reportUnknownVariableType]


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
class TestASchema:
    def test_is_an_object_of_strings_and_integers(self, function: dict[str, Any]) -> None:
        parameters = function["parameters"]
        assert list(parameters) == ["type", "properties", "required"]
        assert parameters["type"] == "object"
        types = {name: field["type"] for name, field in parameters["properties"].items()}
        others = {name: kind for name, kind in types.items() if kind not in ("string", "integer")}
        assert others in ({}, {"view_range": "array"})
        if others:
            assert parameters["properties"]["view_range"]["items"] == {"type": "integer"}

    def test_has_no_choice_no_null_and_no_default(self, function: dict[str, Any]) -> None:
        for schema in schemas_within(function["parameters"]["properties"]):
            assert not {"anyOf", "oneOf", "allOf", "$ref", "$defs", "default", "title"}.intersection(schema)
            assert schema.get("type") != "null"
            assert None not in schema.get("enum", ())

    def test_says_what_everything_is_for(self, function: dict[str, Any]) -> None:
        assert len(function["description"]) > 40
        for field in function["parameters"]["properties"].values():
            assert field["description"].endswith((".", ")"))
        assert set(function["parameters"]["required"]) <= set(function["parameters"]["properties"])

    def test_fits_every_server(self, function: dict[str, Any]) -> None:
        assert function["name"].replace("_", "").isascii()
        assert len(function["name"]) <= 64
        assert len(function["description"]) < 4_000


def test_only_the_default_editor_has_an_array() -> None:
    arrays = {
        (name, definition["function"]["name"])
        for name in SETS
        for definition in definitions(make_toolset(name))
        for field in definition["function"]["parameters"]["properties"].values()
        if field["type"] == "array"
    }
    assert arrays == {("bash+editor", "str_replace_editor")}


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_does_not_change_unseen(name: str) -> None:
    toolset = make_toolset(name)
    assert toolset_sha256(toolset if name == "bash" else toolset[1:])[:12] == PROMPTS[name]


@pytest.mark.parametrize("tool", make_toolset(EVERYTHING), ids=lambda tool: tool.name)
def test_null_means_that_a_parameter_is_left_out(tool: Any) -> None:
    fields = tool.parameters.model_fields
    given = {name: "view" if name == "command" else "x" for name, field in fields.items() if field.is_required()}
    if tool.name in ("background", "terminal"):
        given["action"] = "list" if tool.name == "background" else "read"
    without = tool.parameters.model_validate(given)
    assert tool.parameters.model_validate({**dict.fromkeys(fields), **given}) == without


@pytest.mark.parametrize("tool", make_toolset(EVERYTHING), ids=lambda tool: tool.name)
def test_arguments_that_do_not_fit_are_explained(tool: Any) -> None:
    with pytest.raises(ValueError) as error:
        tool.parameters.model_validate({name: {"no": ["value"]} for name in tool.parameters.model_fields})
    said = explain_invalid_arguments(tool, error.value)  # pyright: ignore[reportArgumentType]
    assert said.startswith(f"The arguments do not fit the tool {tool.name!r}: ")
    assert said.endswith(what_it_takes(tool))
    assert all(f"{name} (" in said for name in tool.parameters.model_fields)

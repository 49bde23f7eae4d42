"""The options that commands share: spelled, explained and read in one place."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from results.records.manifest import LimitsDescription
    from results.records.usage import Prices

KEY_VARIABLE = "UNBROKEN_API_KEY"

Backend = Annotated[
    str | None,
    typer.Option(
        help="A URL (http://HOST:PORT/v1), scripted:FILE, or a name (vllm, llama.cpp, ...) for its local port."
    ),
]
Model = Annotated[str | None, typer.Option(help="The model's name; needed where the backend serves several.")]
Toolset = Annotated[str, typer.Option(help="The tools: bash, or bash+editor.")]
MaxSteps = Annotated[int | None, typer.Option(min=1, help="Responses of the model.")]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="Tokens of all requests together, prompt and output.")]
MaxTime = Annotated[float | None, typer.Option(min=0, help="Seconds for the whole task.")]
MaxCost = Annotated[float | None, typer.Option(min=0, help="US dollars; needs --price.")]
Price = Annotated[
    str | None, typer.Option(help="US dollars for a million tokens: PROMPT:OUTPUT, or PROMPT:OUTPUT:CACHED.")
]
Temperature = Annotated[float | None, typer.Option(min=0, help="Sampling temperature; the server's own unless given.")]
TopP = Annotated[float | None, typer.Option(min=0, max=1, help="Nucleus sampling; the server's own unless given.")]
MaxOutput = Annotated[int | None, typer.Option(min=1, help="Tokens of one response, thinking included.")]
Thinking = Annotated[bool, typer.Option(help="Whether the model thinks before it answers.")]
ApiKeyEnv = Annotated[str, typer.Option(help="The environment variable that holds the backend's key.")]
StallTimeout = Annotated[float, typer.Option(min=0, help="Seconds without a byte until the backend counts as stalled.")]
Runs = Annotated[
    Path | None, typer.Option(help="Where runs are recorded; $UNBROKEN_RUNS or your user's data folder unless given.")
]


def data_directory() -> Path:
    """Where this user's data lies, by the XDG convention."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "unbroken"


def existing_directory(path: Path) -> Path:
    """The path, if it is a folder; a usage error otherwise."""
    if not path.is_dir():
        message = f"there is no folder {path}"
        raise typer.BadParameter(message)
    return path


def limits(steps: int | None, tokens: int | None, seconds: float | None, cost: float | None) -> "LimitsDescription":
    """The limits as a record."""
    from results.records.manifest import LimitsDescription

    return LimitsDescription(steps=steps, tokens=tokens, seconds=seconds, cost=cost)


def prices(text: str | None) -> "Prices | None":
    """Read PROMPT:OUTPUT[:CACHED]; a usage error for anything else."""
    from results.records.usage import Prices

    if text is None:
        return None
    try:
        prompt, output, *cached = (float(part) for part in text.split(":"))
        return Prices(prompt=prompt, output=output, cached=cached[0] if cached else None)
    except ValueError as error:
        message = f"{text!r} is no price: give dollars for a million tokens as PROMPT:OUTPUT or PROMPT:OUTPUT:CACHED"
        raise typer.BadParameter(message, param_hint="--price") from error


def sampling(temperature: float | None, top_p: float | None, max_output: int | None) -> dict[str, Any]:
    """What is sent with every request; what is not given is left to the server."""
    values = {"temperature": temperature, "top_p": top_p, "max_tokens": max_output}
    return {name: value for name, value in values.items() if value is not None}


def runs_directory(path: Path | None) -> Path:
    """Where runs are recorded: what was given, or this user's own place."""
    from results.run_directory import default_runs_directory

    return path or default_runs_directory()

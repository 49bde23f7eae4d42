"""The options that commands share: spelled, explained and read in one place."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from agent.backends import BackendOptions
    from results.records.manifest import LimitsDescription
    from results.records.usage import Prices

KEY_VARIABLE = "UNBROKEN_API_KEY"

Backend = Annotated[
    str | None,
    typer.Option(
        metavar="URL|NAME|scripted:FILE",
        help="Where the model is served: http://HOST:PORT/v1, or vllm, sglang, llama.cpp, ollama, lmstudio on this "
        "machine. Unless given, a server is looked for on this machine.",
    ),
]
Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="The model's name; needed where the backend serves several.")
]
Toolset = Annotated[str, typer.Option(metavar="NAME", help="The model's tools: bash, or bash+editor.")]
MaxSteps = Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after this many responses of the model.")]
MaxTokens = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Stop after this many tokens, prompts and outputs of all requests together."),
]
MaxTime = Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="Stop the task after this time.")]
MaxCost = Annotated[float | None, typer.Option(min=0, metavar="DOLLARS", help="Stop at this cost; needs --price.")]
Price = Annotated[
    str | None,
    typer.Option(metavar="PRICES", help="US dollars for a million tokens: PROMPT:OUTPUT, or PROMPT:OUTPUT:CACHED."),
]
Temperature = Annotated[
    float | None, typer.Option(min=0, metavar="T", help="Sampling temperature; the server's own unless given.")
]
TopP = Annotated[
    float | None, typer.Option(min=0, max=1, metavar="P", help="Nucleus sampling; the server's own unless given.")
]
MaxOutput = Annotated[int | None, typer.Option(min=1, metavar="N", help="Tokens of one response, thinking included.")]
Thinking = Annotated[bool, typer.Option(help="Whether the model thinks before it answers.")]
ApiKeyEnv = Annotated[str, typer.Option(metavar="NAME", help="The environment variable that holds the backend's key.")]
StallTimeout = Annotated[
    float,
    typer.Option(min=0, metavar="SECONDS", help="Silence after which the backend counts as stalled."),
]
Retries = Annotated[
    int, typer.Option(min=0, metavar="N", help="How often a request is sent again that failed but may yet succeed.")
]
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
        raise typer.BadParameter(message, param_hint="--repo")
    return path


def limits(steps: int | None, tokens: int | None, seconds: float | None, cost: float | None) -> "LimitsDescription":
    """The limits as a record."""
    from results.records.manifest import LimitsDescription

    _finite("--max-time", seconds)
    _finite("--max-cost", cost)
    return LimitsDescription(steps=steps, tokens=tokens, seconds=seconds, cost=cost)


def prices(text: str | None) -> "Prices | None":
    """Read PROMPT:OUTPUT[:CACHED]; a usage error for anything else."""
    from results.records.usage import Prices

    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(0 <= number < math.inf for number in numbers):
        message = f"{text!r} is no price: give dollars for a million tokens as PROMPT:OUTPUT or PROMPT:OUTPUT:CACHED"
        raise typer.BadParameter(message, param_hint="--price")
    return Prices(prompt=numbers[0], output=numbers[1], cached=numbers[2] if len(numbers) == 3 else None)


def sampling(temperature: float | None, top_p: float | None, max_output: int | None) -> dict[str, Any]:
    """What is sent with every request; what is not given is left to the server."""
    _finite("--temperature", temperature)
    _finite("--top-p", top_p)
    values = {"temperature": temperature, "top_p": top_p, "max_tokens": max_output}
    return {name: value for name, value in values.items() if value is not None}


def runs_directory(path: Path | None) -> Path:
    """Where runs are recorded: what was given, or this user's own place."""
    from results.run_directory import default_runs_directory

    return path or default_runs_directory()


def _finite(option: str, value: float | None) -> None:
    if value is not None and not math.isfinite(value):
        message = f"{value} is no number that can be used here"
        raise typer.BadParameter(message, param_hint=option)


def backend_options(
    model: str | None,
    key_variable: str,
    temperature: float | None,
    top_p: float | None,
    max_output: int | None,
    thinking: bool,
    stall_timeout: float,
    retries: int,
) -> "BackendOptions":
    """What was said about the backend beside where it is."""
    from agent.backends import BackendOptions

    return BackendOptions(
        model=model,
        key_variable=key_variable,
        sampling=sampling(temperature, top_p, max_output),
        thinking=thinking,
        stall_timeout=stall_timeout,
        retries=retries,
    )


def secrets(key_variable: str) -> frozenset[str]:
    """What must never be recorded or shown: the backend's key, and whatever else the environment keeps secret."""
    from runners.command_environment import secret_values

    return secret_values(os.environ, key_variable)

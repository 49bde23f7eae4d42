"""The options that commands share: spelled, explained and read in one place."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from unbroken.commands.option_groups import CONNECTION, COST, LIMITS, SAMPLING, SERVED, option

if TYPE_CHECKING:
    from agent.backends import BackendOptions
    from agent.profiles.settings import Settings
    from evals.swebench.prompt_sets import Prompts
    from results.records.events import BackendDescription
    from results.records.manifest import LimitsDescription
    from results.records.usage import Prices
    from tools.mcp_servers import McpServer

KEY_VARIABLE = "UNBROKEN_API_KEY"
OnContext = Literal["stop", "compact"]

Backend = Annotated[
    str | None,
    option(
        metavar="URL|NAME|scripted:FILE",
        help="Where the model is served: http://HOST:PORT/v1, or vllm, sglang, llama.cpp, ollama, lmstudio on this "
        "machine. Unless given, a server is looked for on this machine.",
    ),
]
Model = Annotated[str | None, option(metavar="NAME", help="The model's name; needed where the backend serves several.")]
Thinking = Annotated[bool, option("--thinking/--no-thinking", group=SAMPLING, help="Whether the model thinks.")]
ApiKeyEnv = Annotated[
    str, option(group=CONNECTION, metavar="NAME", help="The environment variable that holds the backend's key.")
]
Prompt = Annotated[
    str | None,
    option(metavar="NAME|FOLDER", help="What the model is told: default, mini, qwen, or a folder with texts of yours."),
]


@dataclass(frozen=True)
class Asked:
    """Which model is asked, how, and what it may spend. What is None was not given."""

    backend: Backend = None
    model: Model = None
    preset: Annotated[
        str | None,
        option(
            metavar="NAME", help="A published setting as a whole; `agent config show` names them. Options win over it."
        ),
    ] = None
    profile: Annotated[
        str | None, option(metavar="NAME", help="The model whose card the sampling is taken from, such as qwen3.6-27b.")
    ] = None
    mode: Annotated[
        str | None, option(metavar="NAME", help="A mode of the profile: agentic, thinking, coding or instruct.")
    ] = None
    toolset: Annotated[
        str | None,
        option(
            metavar="NAME",
            help="The model's tools: bash, bash+editor (the default) or editor-strings; +search, +terminal, +vision, "
            "+todo and +submit add to it.",
        ),
    ] = None
    mcp: Annotated[
        list[str] | None,
        option(
            metavar="NAME=COMMAND|URL",
            help="A server of tools for the model, by the Model Context Protocol; may be repeated.",
        ),
    ] = None
    mcp_file: Annotated[
        Path | None, option(metavar="FILE", help='A file of such servers, with "mcpServers" in it.')
    ] = None

    max_steps: Annotated[
        int | None,
        option(group=LIMITS, min=1, metavar="N", help="Stop after this many responses of the model; evals: 250."),
    ] = None
    max_tokens: Annotated[
        int | None,
        option(
            group=LIMITS,
            min=1,
            metavar="N",
            help="Stop after this many tokens, prompts and outputs of all requests together.",
        ),
    ] = None
    max_time: Annotated[
        float | None, option(group=LIMITS, min=0, metavar="SECONDS", help="Stop the task after this time.")
    ] = None
    max_cost: Annotated[
        float | None, option(group=LIMITS, min=0, metavar="DOLLARS", help="Stop at this cost; needs a known price.")
    ] = None
    max_thinking: Annotated[
        int | None, option(group=LIMITS, min=1, metavar="N", help="Stop at a turn that thinks for so many tokens.")
    ] = None
    on_context_limit: Annotated[
        OnContext | None,
        option(group=LIMITS, help="When the context is full: stop (evals' default), or go on after a summary."),
    ] = None

    thinking: Annotated[
        bool | None, option("--thinking/--no-thinking", group=SAMPLING, help="Whether the model thinks.")
    ] = None
    preserve_thinking: Annotated[
        bool | None,
        option(
            "--preserve-thinking/--no-preserve-thinking",
            group=SAMPLING,
            help="Whether earlier thinking stays in the prompt after a new message of the user; it does by default.",
        ),
    ] = None
    temperature: Annotated[
        float | None,
        option(group=SAMPLING, min=0, metavar="T", help="As all sampling, the server's own unless given."),
    ] = None
    top_p: Annotated[float | None, option(group=SAMPLING, min=0, max=1, metavar="P")] = None
    top_k: Annotated[int | None, option(group=SAMPLING, min=0, metavar="N")] = None
    min_p: Annotated[float | None, option(group=SAMPLING, min=0, max=1, metavar="P")] = None
    presence_penalty: Annotated[float | None, option(group=SAMPLING, min=-2, max=2, metavar="X")] = None
    max_output: Annotated[
        int | None, option(group=SAMPLING, min=1, metavar="N", help="Tokens of one response, thinking included.")
    ] = None
    context: Annotated[
        int | None,
        option(group=SAMPLING, min=1, metavar="N", help="Tokens of the context window; as served unless given."),
    ] = None

    price: Annotated[
        str | None,
        option(
            group=COST,
            metavar="PRICES",
            help="US dollars for a million tokens: PROMPT:OUTPUT, or PROMPT:OUTPUT:CACHED. Unless given, that of a "
            "dated table where it has this model.",
        ),
    ] = None
    watts: Annotated[
        float | None,
        option(group=COST, min=0, metavar="W", help="What your hardware draws while the model works."),
    ] = None
    kwh_price: Annotated[
        float | None, option(group=COST, min=0, metavar="DOLLARS", help="A kilowatt-hour of it; goes with --watts.")
    ] = None
    hour_price: Annotated[
        float | None, option(group=COST, min=0, metavar="DOLLARS", help="An hour of your own or rented hardware.")
    ] = None

    dialect: Annotated[
        str | None,
        option(
            group=CONNECTION,
            metavar="NAME|FILE.toml",
            help="How the server speaks; found out by asking it unless given. `agent backends dialects` names them.",
        ),
    ] = None
    api_key_env: ApiKeyEnv = KEY_VARIABLE
    stall_timeout: Annotated[
        float | None,
        option(
            group=CONNECTION,
            min=0,
            metavar="SECONDS",
            help="Silence after which the backend counts as stalled; unless given, 30 minutes before the first token, "
            "and 10 minutes after it.",
        ),
    ] = None
    max_wait: Annotated[
        float | None,
        option(
            group=CONNECTION,
            min=0,
            metavar="SECONDS",
            help="How long one response may take, with every try and the waits between them; no limit unless given.",
        ),
    ] = None
    retries: Annotated[
        int,
        option(
            group=CONNECTION,
            min=0,
            metavar="N",
            help="How often a request is sent again that failed but may yet succeed.",
        ),
    ] = 5

    weights: Annotated[
        str | None, option(group=SERVED, metavar="TEXT", help="The file or revision of the weights.")
    ] = None
    quantisation: Annotated[str | None, option(group=SERVED, metavar="TEXT", help="Such as bf16, fp8, Q4_K_M.")] = None
    kv_cache: Annotated[
        str | None, option(group=SERVED, metavar="TEXT", help="The type of the key-value cache: f16, q8_0.")
    ] = None
    speculative: Annotated[
        str | None, option(group=SERVED, metavar="TEXT", help="How it decodes speculatively, or none.")
    ] = None
    hardware: Annotated[str | None, option(group=SERVED, metavar="TEXT", help="What it runs on.")] = None

    def settings(self, supported: Mapping[str, tuple[Any, ...] | None], **more: Any) -> "Settings":
        """What holds once profile, mode and preset are read, `more` being options of one command alone.

        Raises ProfileError, a usage error for a preset that asks for what is not `supported`.
        """
        from agent.profiles.settings import Choice, missing_parts, resolve

        for name in ("temperature", "top_p", "min_p", "presence_penalty", "max_time", "max_cost"):
            _finite(f"--{name.replace('_', '-')}", getattr(self, name))
        given = {name: getattr(self, name) for name in _GIVEN}
        given |= {"preserve": self.preserve_thinking, "steps": self.max_steps, "seconds": self.max_time, **more}
        settings = resolve(Choice(self.preset, self.profile, self.mode, self.model), given)
        if missing := missing_parts(settings, {**_SUPPORTED, **supported}):
            message = f"the preset {self.preset} asks for {', '.join(missing)}, which this command cannot do yet"
            raise typer.BadParameter(message, param_hint="--preset")
        return settings

    def toolset_name(self, settings: "Settings", unless_given: str | None = None) -> str:
        """The toolset in its one spelling; a usage error for a name that is none."""
        from tools.toolset import DEFAULT_TOOLSET, toolset_name

        try:
            return toolset_name(settings["toolset"] or unless_given or DEFAULT_TOOLSET)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--toolset") from error

    def mcp_servers(self) -> "tuple[McpServer, ...]":
        """The servers that were named, with the variables of the environment put in; else a usage error."""
        from tools.mcp_servers import McpError, parse_server, read_servers

        try:
            servers = [parse_server(text) for text in self.mcp or ()]
            if self.mcp_file:
                servers += read_servers(self.mcp_file.read_text("utf-8"))
            return tuple(server.expanded(os.environ) for server in servers)
        except OSError as error:
            message = f"{self.mcp_file} cannot be read: {error.strerror or error}"
            raise typer.BadParameter(message, param_hint="--mcp-file") from error
        except McpError as error:
            raise typer.BadParameter(str(error), param_hint="--mcp") from error

    def limits(self, settings: "Settings", *, on_context: OnContext, steps: int | None = None) -> "LimitsDescription":
        """The limits as a record; `on_context` and `steps` are what holds where nobody says anything."""
        from results.records.manifest import LimitsDescription

        return LimitsDescription(
            steps=settings["steps"] or steps,
            tokens=self.max_tokens,
            seconds=settings["seconds"],
            cost=self.max_cost,
            thinking_tokens=self.max_thinking,
            on_context=self.on_context_limit or on_context,
        )

    def backend_options(self, settings: "Settings") -> "BackendOptions":
        """What was said about the backend beside where it is."""
        from agent.backends import BackendOptions

        return BackendOptions(
            model=self.model,
            key_variable=self.api_key_env,
            dialect=self.dialect,
            sampling=settings.sampling,
            thinking=True if settings["thinking"] is None else settings["thinking"],
            preserve=True if settings["preserve"] is None else settings["preserve"],
            context_window=settings["context"],
            stall_timeout=self.stall_timeout,
            longest_step=self.max_wait,
            retries=self.retries,
            weights=self.weights,
            quantisation=self.quantisation,
            kv_cache=self.kv_cache,
            speculative=self.speculative,
            hardware=self.hardware,
            profile=settings.profile,
            mode=settings.mode,
            preset=settings.preset,
            provenance=settings.origins,
        )

    def stated_prices(self) -> "Prices | None":
        """What is said on the command line about prices; a usage error for what makes no price."""
        from results.records.usage import HardwareCost, Prices

        tokens = _token_prices(self.price)
        for name in ("watts", "kwh_price", "hour_price"):
            _finite(f"--{name.replace('_', '-')}", getattr(self, name))
        if (self.watts is None) != (self.kwh_price is None):
            raise typer.BadParameter(
                "watts and the price of a kilowatt-hour only mean something together", param_hint="--watts"
            )
        hardware = None
        if self.watts is not None or self.hour_price is not None:
            hardware = HardwareCost(watts=self.watts, kwh_price=self.kwh_price, hour_price=self.hour_price)
        return Prices.model_validate({**tokens, "hardware": hardware}) if tokens or hardware else None

    def check_prices(self) -> None:
        """A usage error for what makes no price, and where there is a limit on cost for which none can be had."""
        if self.stated_prices() is not None or self.max_cost is None:
            return
        from agent.profiles.prices import has_prices

        if self.backend is None or not has_prices(self.backend):
            message = (
                "a limit on cost needs the price of the model's tokens (--price) or of your hardware (--hour-price)"
            )
            raise typer.BadParameter(message, param_hint="--price")

    def prices(
        self, settings: "Settings", served: "BackendDescription", tell: Callable[[str], None]
    ) -> "Prices | None":
        """What the model costs that is served, as stated or by a table; `tell` hears what a person should know of it.

        Raises ProfileError for a table of one's own, ValueError where there is a limit on cost and no price.
        """
        from datetime import UTC, datetime

        from agent.limits import Budget
        from agent.profiles.advice import advice
        from agent.profiles.prices import find_prices

        prices = self.stated_prices() or find_prices(served.base_url, served.model)
        if not served.scripted:
            for sentence in advice(settings, served.model, prices, datetime.now(UTC).date()):
                tell(sentence)
        Budget(self.limits(settings, on_context="stop"), prices)
        return prices


def data_directory() -> Path:
    """Where this user's data lies, by the XDG convention."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "unbroken"


def existing_directory(path: Path) -> Path:
    """The path, if it is a folder; a usage error otherwise."""
    if not path.is_dir():
        message = f"there is no folder {path}"
        raise typer.BadParameter(message, param_hint="--repo")
    return path


def prompts(settings: "Settings", benchmark: str = "swebench") -> "Prompts":
    """The prompt set; a usage error for a name or a folder that is none."""
    from evals.swebench.prompt_sets import DEFAULT, PromptError, load_prompts

    try:
        return load_prompts(settings["prompt"] or DEFAULT, benchmark)
    except PromptError as error:
        raise typer.BadParameter(str(error), param_hint="--prompt") from error


def secrets(asked: "Asked") -> frozenset[str]:
    """What must never be recorded or shown: keys of the backend, of MCP servers, and of the environment."""
    from runners.command_environment import secret_values

    return secret_values(os.environ, asked.api_key_env).union(*(server.secrets() for server in asked.mcp_servers()))


_GIVEN = (
    *("temperature", "top_p", "top_k", "min_p", "presence_penalty", "max_output"),
    *("thinking", "context", "toolset"),
)
_SUPPORTED: Mapping[str, tuple[Any, ...] | None] = {
    **dict.fromkeys((*_GIVEN, "repetition_penalty", "preserve", "steps", "seconds")),
    "agent": ("default",),
    "attempts": (1,),
}
"""What a preset may ask for of any command, with the values that it can have; None: any."""


def _token_prices(text: str | None) -> dict[str, float]:
    """Read PROMPT:OUTPUT[:CACHED]; a usage error for anything else, and nothing where nothing is stated."""
    if text is None:
        return {}
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(0 <= number < math.inf for number in numbers):
        message = f"{text!r} is no price: give dollars for a million tokens as PROMPT:OUTPUT or PROMPT:OUTPUT:CACHED"
        raise typer.BadParameter(message, param_hint="--price")
    return dict(zip(("prompt", "output", "cached"), numbers, strict=False))


def _finite(option: str, value: float | None) -> None:
    if value is not None and not math.isfinite(value):
        message = f"{value} is no number that can be used here"
        raise typer.BadParameter(message, param_hint=option)

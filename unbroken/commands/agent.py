"""The command `agent`."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unbroken.commands import options

if TYPE_CHECKING:
    from agent.session import TaskResult, TaskSettings

application = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Let a model work on a repository, with its thinking kept.",
)  # fmt: skip
backends = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Backends: find one, serve a scripted one.")
application.add_typer(backends, name="backends")

DONE, ERROR, LIMIT, DENIED, UNREACHABLE, CONTEXT, INTERRUPTED = 0, 1, 3, 4, 5, 6, 130


@application.callback()
def agent() -> None:
    """Let a model work on a repository, with its thinking kept."""


@application.command()
def run(
    task: Annotated[str, typer.Argument(help="What to do, in your own words.")],
    repo: Annotated[Path, typer.Option(help="The git repository to work on, in place.")] = Path(),
    backend: options.Backend = None,
    model: options.Model = None,
    sandbox: Annotated[str, typer.Option(help="local, or docker:IMAGE (the repository is copied in).")] = "local",
    apply: Annotated[bool, typer.Option("--apply", help="With docker: apply the diff to the repository.")] = False,
    approve: Annotated[
        str | None, typer.Option(help="ask, edits, all or read-only. At a terminal ask is the default; without: ask.")
    ] = None,
    toolset: options.Toolset = "bash+editor",
    max_steps: options.MaxSteps = None,
    max_tokens: options.MaxTokens = None,
    max_time: options.MaxTime = None,
    max_cost: options.MaxCost = None,
    price: options.Price = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    max_output: options.MaxOutput = None,
    thinking: options.Thinking = True,
    api_key_env: options.ApiKeyEnv = options.KEY_VARIABLE,
    stall_timeout: options.StallTimeout = 600.0,
    sessions: Annotated[
        Path | None, typer.Option(help="Where sessions are recorded; a folder of your user's data unless given.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one event a line, as recorded.")] = False,
) -> None:
    """Work on TASK in a git repository, and show the diff at the end.

    Exit: 0 done, 1 error, 2 usage, 3 limit, 4 denied, 5 backend unreachable, 6 context exhausted, 130 interrupted.
    """
    from agent.backends import BackendOptions
    from agent.session import TaskSettings

    settings = TaskSettings(
        task=task,
        repository=options.existing_directory(repo),
        sandbox=sandbox,
        toolset=toolset,
        limits=options.limits(max_steps, max_tokens, max_time, max_cost),
        prices=options.prices(price),
        approval=_approval(approve, interactive=sys.stdin.isatty() and not json),
    )
    backend_options = BackendOptions(
        model=model,
        key_variable=api_key_env,
        sampling=options.sampling(temperature, top_p, max_output),
        thinking=thinking,
        stall_timeout=stall_timeout,
    )
    result = asyncio.run(_run(settings, backend, backend_options, sessions, as_json=json))
    if apply and sandbox != "local":
        asyncio.run(_apply(settings.repository, result))
    if not json:
        typer.echo(f"recorded in {result.folder}", err=True)
    raise typer.Exit(exit_code(result))


@backends.command("find")
def find() -> None:
    """Name the model server that answers on this machine."""
    from agent.backends import find_local_server, list_models

    url = find_local_server()
    names = ", ".join(str(model["id"]) for model in list_models(url))
    typer.echo(f"{url}  {names}")


@backends.command("serve-script")
def serve_script(
    script: Annotated[Path, typer.Argument(help="A YAML script; docs/scripted-backend.md has the format.")],
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen at.")] = 8000,
) -> None:
    """Serve a scripted backend until interrupted. It plays back a file, and says so."""
    from agent.scripted.server import run_forever

    run_forever(script, host, port)


def exit_code(result: "TaskResult") -> int:
    """The exit code for how a task ended."""
    from agent.backend import BackendUnreachableError

    match result.outcome.exit:
        case "finished" | "submitted":
            return DONE
        case "limit:context":
            return CONTEXT
        case "refused":
            return DENIED
        case "interrupted":
            return INTERRUPTED
        case "error":
            return UNREACHABLE if isinstance(result.failure, BackendUnreachableError) else ERROR
        case _:
            return LIMIT


async def _run(
    settings: "TaskSettings", backend: str | None, backend_options: Any, sessions: Path | None, *, as_json: bool
) -> "TaskResult":
    from agent.backends import open_backend
    from agent.session import new_session_folder, run_task
    from agent.terminal import JsonView, TerminalView

    folder = new_session_folder(sessions or options.data_directory() / "sessions")
    async with open_backend(backend, backend_options) as opened:
        return await run_task(settings, opened, JsonView() if as_json else TerminalView(), folder)


async def _apply(repository: Path, result: "TaskResult") -> None:
    from agent.session import open_sandbox
    from agent.workspace import Workspace

    if result.patch:
        async with open_sandbox("local", repository) as sandbox:
            await Workspace(sandbox).apply(result.patch)
        typer.echo(f"applied to {repository}", err=True)


def _approval(policy: str | None, *, interactive: bool) -> Any:
    from typing import get_args

    from agent.approval import Approval, Policy

    if policy is not None and policy not in get_args(Policy):
        message = f"{policy!r} is no approval policy; there are: {', '.join(get_args(Policy))}"
        raise typer.BadParameter(message, param_hint="--approve")
    from agent.terminal import ask_person

    return Approval(policy or "ask", ask_person if interactive else None)  # type: ignore[arg-type]

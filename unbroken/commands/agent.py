"""The command `agent`."""

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.commands import options
from unbroken.commands.backends import application as backends
from unbroken.commands.config import application as config
from unbroken.commands.containers import PRESET_PARTS, Containers
from unbroken.commands.doctor import doctor
from unbroken.commands.option_groups import RECORDS, GroupedCommand, option, with_groups
from unbroken.commands.prefix import prefix

if TYPE_CHECKING:
    from agent.approval import Approval
    from agent.profiles.settings import Settings
    from agent.sandboxes import SandboxChoice
    from agent.session import TaskResult
    from agent.workspace import Checkout
    from runners.sandbox_options import SandboxOptions
    from tools.mcp_servers import McpServer
    from tools.pictures import Picture

application = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Let a model work on a repository, with its thinking kept.",
)  # fmt: skip

DONE, ERROR, LIMIT, DENIED, UNREACHABLE, CONTEXT, INTERRUPTED = 0, 1, 3, 4, 5, 6, 130


@application.callback(epilog="Any command takes --debug, which adds the traceback to an error.")
def agent() -> None:
    """Let a model work on a repository, with its thinking kept."""


@application.command(cls=GroupedCommand)
@with_groups
def run(
    *,
    task: Annotated[str, typer.Argument(metavar="TASK", help="What to do, in your own words.")],
    repo: Annotated[
        Path, typer.Option(metavar="DIR", help="The git repository to work on, or a folder in it.", show_default="here")
    ] = Path(),
    asked: options.Asked,
    containers: Containers,
    approve: Annotated[
        str,
        typer.Option(
            metavar="POLICY",
            help="What you are asked about first: ask (all but reading), edits (commands, not edits of files), "
            "all (nothing: everything is allowed), read-only (nothing: only reading is allowed). "
            "Away from a terminal, what would be asked is denied.",
        ),
    ] = "ask",
    sandbox: Annotated[
        str,
        typer.Option(
            metavar="local|docker:IMAGE",
            help="Where commands run: on this machine and in place, or in a container that gets a copy.",
        ),
    ] = "local",
    confine: Annotated[
        bool,
        typer.Option(
            "--confine", help="With local, let commands write to the repository and a temporary folder alone."
        ),
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="With docker:IMAGE, apply the diff to the repository at the end.")
    ] = False,
    image: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A picture to show with the task; may be repeated.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one event a line, as recorded, and nothing else.")
    ] = False,
    sessions: Annotated[
        Path | None,
        option(group=RECORDS, metavar="DIR", help="Where sessions are recorded; your user's data folder unless given."),
    ] = None,
) -> None:
    """Work on TASK in a git repository, and show the diff at the end.

    Exit: 0 done, 1 error, 2 usage, 3 limit, 4 denied, 5 backend unreachable, 6 context exhausted, 130 interrupted.
    """
    import asyncio

    local = sandbox == "local"
    if local:
        containers.refuse_given("only containers have it: --sandbox docker:IMAGE")
    settings = asked.settings({} if local else PRESET_PARTS, **containers.stated())
    asked.check_prices()
    container = containers.options(settings, network="bridge")
    mcp = asked.mcp_servers()
    request = _Request(
        task=_task(task),
        repository=options.existing_directory(repo),
        sandbox=_sandbox(sandbox, apply=apply, confine=confine, container=container),
        apply=apply,
        toolset=asked.toolset_name(settings),
        mcp=mcp,
        asked=asked,
        settings=settings,
        approval=_approval(approve, interactive=sys.stdin.isatty() and not json),
        pictures=tuple(_picture(path) for path in image or ()),
        sessions=sessions or options.data_directory() / "sessions",
        as_json=json,
        secrets=options.secrets(asked),
    )
    try:
        result = asyncio.run(_run(request))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    _say_where(request, result)
    _fail_unless_done(request, result)


application.command(cls=GroupedCommand)(doctor)
application.command()(prefix)
application.add_typer(backends, name="backends")
application.add_typer(config, name="config")


def exit_code(result: "TaskResult") -> int:
    """The exit code for how a task ended."""
    from agent.backend import BackendUnreachableError

    outcome = result.outcome
    if outcome.exit in ("finished", "submitted"):
        return ERROR if outcome.error else DONE
    if outcome.exit == "error":
        return UNREACHABLE if isinstance(result.failure, BackendUnreachableError) else ERROR
    codes = {"limit:context": CONTEXT, "refused": DENIED, "interrupted": INTERRUPTED}
    return codes.get(outcome.exit, LIMIT)


@dataclass(frozen=True)
class _Request:
    """What a person asks for, checked as far as that goes without looking at anything."""

    task: str
    repository: Path
    sandbox: "SandboxChoice"
    apply: bool
    toolset: str
    mcp: "tuple[McpServer, ...]"
    asked: options.Asked
    settings: "Settings"
    approval: "Approval"
    pictures: "tuple[Picture, ...]"
    sessions: Path
    as_json: bool
    secrets: frozenset[str]


async def _run(request: _Request) -> "TaskResult":
    import asyncio

    from agent.backends import open_backend
    from agent.interrupts import cancelled_by_signals
    from agent.session import TaskSettings, locate, new_session_folder, run_task
    from agent.terminal import JsonView, TerminalView
    from runners.own_environment import hide_secrets

    task = asyncio.current_task()
    assert task is not None
    asked = request.asked
    hide_secrets(asked.api_key_env)
    with cancelled_by_signals(task):
        repository = await locate(request.repository)
        if request.sandbox.confine and not repository.self_contained:
            _tell(
                f"note: {repository.top} keeps git's data elsewhere (a linked worktree, a submodule or a shared clone)"
                ", where nothing can be written with --confine: git add and git commit may fail"
            )
        async with open_backend(asked.backend, asked.backend_options(request.settings), _tell) as backend:
            # From here on nothing that is started from this process inherits the key.
            os.environ.pop(asked.api_key_env, None)
            settings = TaskSettings(
                task=request.task,
                repository=repository,
                sandbox=request.sandbox,
                toolset=request.toolset,
                mcp=request.mcp,
                limits=asked.limits(request.settings, on_context="compact"),
                prices=asked.prices(request.settings, backend.description, _tell),
                approval=request.approval,
                secrets=request.secrets,
                pictures=request.pictures,
            )
            view = JsonView() if request.as_json else TerminalView()
            result = await run_task(settings, backend, view, new_session_folder(request.sessions), _tell)
        if request.apply and result.patch and result.outcome.exit != "interrupted":
            await _apply(settings.repository, result)
        return result


async def _apply(repository: "Checkout", result: "TaskResult") -> None:
    from agent.sandboxes import SandboxChoice, open_sandbox
    from agent.workspace import Workspace, WorkspaceError
    from unbroken.errors import TaskFailedError

    try:
        async with open_sandbox(SandboxChoice(), repository) as sandbox:
            await Workspace(sandbox).apply(result.patch or b"")
    except WorkspaceError as error:
        message = f"{error}\nNothing was changed; the diff is kept in {result.folder / 'patch.diff'}"
        raise TaskFailedError(message, ERROR) from error
    _tell(f"applied to {repository.top}")


def _say_where(request: _Request, result: "TaskResult") -> None:
    _tell(f"recorded in {result.folder}")
    applied = request.apply and result.outcome.exit != "interrupted"
    if request.sandbox.name != "local" and result.patch and not applied:
        repository, patch = shlex.quote(str(request.repository)), shlex.quote(str(result.folder / "patch.diff"))
        _tell(f"your files are as they were; to take the work over: git -C {repository} apply {patch}")


def _fail_unless_done(request: _Request, result: "TaskResult") -> None:
    from unbroken.errors import TaskFailedError

    code = exit_code(result)
    if code != DONE:
        message = (result.outcome.detail or result.outcome.exit) + _way_out(result, code)
        raise TaskFailedError(message, code, request.secrets) from result.failure
    if result.outcome.detail:
        _tell(result.outcome.detail)


def _way_out(result: "TaskResult", code: int) -> str:
    match code:
        case 5:
            return "\nIs the server still running, and is the address right?"
        case 6:
            return "\nServe the model with a larger context window, or give it a smaller task."
        case 4:
            return "\nRun it at a terminal, or say what is allowed: --approve edits, --approve all."
        case 1 if result.outcome.error == "backend":
            return "\nThe server's own log may say more. --retries sets how often a request is sent again."
        case _:
            return ""


def _tell(text: str) -> None:
    typer.echo(_visible(text), err=True)


def _visible(text: str) -> str:
    """Text that holds something of unknown origin, safe to print."""
    from results.visible_text import visible

    return visible(text)


def _task(task: str) -> str:
    if not task.strip():
        raise typer.BadParameter("say what to do", param_hint="TASK")
    return task


def _sandbox(name: str, *, apply: bool, confine: bool, container: "SandboxOptions") -> "SandboxChoice":
    from agent.sandboxes import SandboxChoice

    try:
        choice = SandboxChoice(name, confine, container)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--sandbox") from error
    if apply and name == "local":
        raise typer.BadParameter("without --sandbox docker:IMAGE the work is done in place", param_hint="--apply")
    if confine:
        _check_confinement(name)
    return choice


def _check_confinement(name: str) -> None:
    from runners.confinement import check_confinement

    if name != "local":
        raise typer.BadParameter(
            "a container is confined as it is; this is for --sandbox local", param_hint="--confine"
        )
    check_confinement()


def _picture(path: Path) -> "Picture":
    from tools.pictures import PictureError, read_picture

    try:
        return read_picture(path.read_bytes())
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
    except PictureError as error:
        message = f"{path} cannot be shown: {error}"
    raise typer.BadParameter(message, param_hint="--image")


def _approval(policy: str, *, interactive: bool) -> "Approval":
    from typing import cast, get_args

    from agent.approval import Approval, Policy

    if policy not in get_args(Policy):
        message = f"{policy!r} is no approval policy; there are: {', '.join(get_args(Policy))}"
        raise typer.BadParameter(message, param_hint="--approve")
    from agent.terminal import ask_person

    return Approval(cast("Policy", policy), ask_person if interactive else None)

"""The console commands. Each first makes sure that our own packages are imported, then hands over to its app."""

import sys
import traceback
from typing import TYPE_CHECKING

from unbroken.own_packages import forget_python_path, import_own

if TYPE_CHECKING:
    import typer

OK, ERROR, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 5, 130


def agent() -> None:
    """The command `agent`."""
    _run("agent", sys.argv[1:])


def evals() -> None:
    """The command `evals`."""
    _run("evals", sys.argv[1:])


def results() -> None:
    """The command `results`."""
    _run("results", sys.argv[1:])


def unbroken() -> None:
    """The command `unbroken`, which has the other three as its subcommands."""
    names = ("agent", "evals", "results")
    arguments = sys.argv[1:]
    if arguments and arguments[0] in names:
        _run(arguments[0], arguments[1:])
    if arguments == ["--version"]:
        from unbroken import __version__

        print(f"unbroken {__version__}")
        sys.exit(OK)
    print(f"usage: unbroken {{{'|'.join(names)}}} ...\n\nEach is a command of its own as well; try `agent --help`.")
    sys.exit(OK if arguments in ([], ["--help"]) else USAGE)


def _run(name: str, arguments: list[str]) -> None:
    """Run a command. What goes wrong is one sentence on stderr; `--debug` adds the traceback."""
    forget_python_path()
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in options
    without = [argument for argument in options if argument != "--debug"] + arguments[len(options) :]
    application: typer.Typer = import_own(f"unbroken.commands.{name}").application
    invocation = import_own("unbroken.invocation").Invocation(tuple(without))
    try:
        application(without, prog_name=name, obj=invocation)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # the boundary of the process: a person reads this
        print(_explanation(error, debug=debug), file=sys.stderr)
        sys.exit(exit_code(error))


def _explanation(error: Exception, *, debug: bool) -> str:
    from agent.redaction import redacted
    from results.visible_text import visible

    text = f"error: {str(error) or type(error).__name__}"
    if debug:
        text = f"{traceback.format_exc()}{text}"
    elif not _is_expected(error):
        text = f"{text}\n({type(error).__name__}; --debug shows where)"
    return visible(redacted(text, getattr(error, "secrets", ())))


def exit_code(error: BaseException) -> int:
    """The exit code for an error that reaches the process: 2 for bad input, 5 for a backend that is not there."""
    from agent.backend import BackendUnreachableError
    from unbroken.errors import TaskFailedError

    if isinstance(error, TaskFailedError):
        return error.code
    if isinstance(error, BackendUnreachableError):
        return UNREACHABLE
    return USAGE if isinstance(error, ValueError) else ERROR


def _is_expected(error: Exception) -> bool:
    """Whether the message says all: errors of ours do, anything else may need its traceback."""
    return type(error).__module__.split(".")[0] in ("unbroken", "agent", "tools", "evals", "runners", "results")

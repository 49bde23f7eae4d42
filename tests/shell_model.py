"""A model of what stays from one command to the next, and a machine that tries to prove it wrong.

Sequences of commands are made up; after each, the whole state is asked for and compared with the model's. What stays is
what `docs/shell.md` says: directory, variables, arrays, exports, functions, aliases, umask. What does not: options,
traps, and whatever a command did that was killed or replaced.
"""

import asyncio
import os
import shlex
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tools.sandbox import CommandResult, Sandbox

NAMES = ("one", "two", "_three", "IFS2")
FUNCTIONS = ("greet", "cdx")
ALIASES = ("say", "ll")
DIRECTORIES = ("/", "/usr", "/usr/bin", "/tmp")
UMASKS = ("0022", "0077", "0002")
PATIENCE = 30.0
SEQUENCES = 2000 if os.environ.get("UNBROKEN_LONG") else 40

values = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
names, functions, aliases = st.sampled_from(NAMES), st.sampled_from(FUNCTIONS), st.sampled_from(ALIASES)
exits = st.integers(0, 125)


@dataclass(frozen=True)
class State:
    """What the shell must know."""

    variables: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """A plain variable is an array of one, as it is in bash."""
    exported: frozenset[str] = frozenset()
    functions: dict[str, str] = field(default_factory=dict[str, str])
    """What each prints."""
    aliases: dict[str, str] = field(default_factory=dict[str, str])
    directory: str = "/"
    umask: str = "0022"

    def assigned(self, name: str, *value: str) -> "State":
        return replace(self, variables={**self.variables, name: value})

    def seen(self) -> list[str]:
        """What `PROBE` prints of it."""
        words = [self.directory, self.umask, ""]
        for name in NAMES:
            words.append("\x02".join(self.variables[name]) if name in self.variables else "unset")
            words.append("exported" if name in self.exported and name in self.variables else "own")
        words += [self.functions.get(name, "none") for name in FUNCTIONS]
        words += [self.aliases.get(name, "none") for name in ALIASES]
        return words


PROBE = "\n".join(
    [
        'printf "%s\\0%s\\0" "$PWD" "$(umask)"',
        # The options that a command may have set, and the traps, must be gone.
        'case $- in *[eufxC]*) printf "%s" "$-" ;; esac; trap -p DEBUG ERR USR1; printf "\\0"',
        f"for name in {' '.join(NAMES)}; do",
        '  if declare -p "$name" >/dev/null 2>&1; then',
        '    declare -n seen=$name; separator=; for word in "${seen[@]}"; do',
        '      printf "%s%s" "$separator" "$word"; separator=$\'\\2\'; done; unset -n seen',
        '  else printf unset; fi; printf "\\0"',
        '  case $(declare -p "$name" 2>/dev/null) in "declare -"*([!x\\ ])x*) printf exported ;; *) printf own ;; esac',
        '  printf "\\0"; done',
        f"for name in {' '.join(FUNCTIONS)}; do",
        '  if declare -F "$name" >/dev/null; then "$name"; else printf none; fi; printf "\\0"; done',
        f"for name in {' '.join(ALIASES)}; do",
        '  printf "%s\\0" "${BASH_ALIASES[$name]-none}"; done',
    ]
)
RESET = (
    f"unset {' '.join(NAMES)} separator word name; unset -f {' '.join(FUNCTIONS)}; unalias -a; "
    "cd /; umask 0022; shopt -u nothing 2>/dev/null; true"
)


class ShellMachine(RuleBasedStateMachine):
    """Runs on a sandbox that its subclass gives, one for all sequences."""

    loop: asyncio.AbstractEventLoop
    sandbox: Sandbox

    def __init__(self) -> None:
        super().__init__()
        self.state = State()

    def shell(self, command: str, timeout: float = PATIENCE) -> CommandResult:
        return self.loop.run_until_complete(self.sandbox.shell(command, timeout=timeout))

    def run(self, command: str, exit_code: int = 0) -> None:
        result = self.shell(command)
        assert result.exit_code == exit_code, (command, result)

    @initialize()
    def begin(self) -> None:
        self.run(RESET)
        self.state = State()

    @invariant()
    def the_shell_knows_what_the_model_knows(self) -> None:
        result = self.shell(f"shopt -s extglob\neval {shlex.quote(PROBE)}")
        words = result.output.decode().split("\0")[:-1]
        assert words == self.state.seen(), result

    # -- what stays

    @rule(name=names, value=values)
    def assign(self, name: str, value: str) -> None:
        kept = self.state.variables.get(name, ())[1:]
        self.run(f"{name}={shlex.quote(value)}")
        self.state = self.state.assigned(name, value, *kept)

    @rule(name=names, words=st.lists(values, min_size=1, max_size=3))
    def assign_array(self, name: str, words: list[str]) -> None:
        self.run(f"{name}=({' '.join(map(shlex.quote, words))})")
        self.state = self.state.assigned(name, *words)

    @rule(name=names, value=values)
    def export(self, name: str, value: str) -> None:
        self.run(f"unset {name}; export {name}={shlex.quote(value)}")
        self.state = replace(self.state.assigned(name, value), exported=self.state.exported | {name})

    @rule(name=names)
    def unset(self, name: str) -> None:
        self.run(f"unset {name}")
        variables = {key: value for key, value in self.state.variables.items() if key != name}
        self.state = replace(self.state, variables=variables, exported=self.state.exported - {name})

    @rule(name=functions, value=values)
    def define(self, name: str, value: str) -> None:
        self.run(f"{name}() {{ printf %s {shlex.quote(value)}; }}")
        self.state = replace(self.state, functions={**self.state.functions, name: value})

    @rule(name=aliases, value=values)
    def alias(self, name: str, value: str) -> None:
        self.run(f"alias {name}={shlex.quote(value)}")
        self.state = replace(self.state, aliases={**self.state.aliases, name: value})

    @rule(directory=st.sampled_from(DIRECTORIES), exit_code=exits)
    def go(self, directory: str, exit_code: int) -> None:
        self.run(f"cd {directory}; exit {exit_code}", exit_code)
        self.state = replace(self.state, directory=directory)

    @rule(mask=st.sampled_from(UMASKS))
    def mask(self, mask: str) -> None:
        self.run(f"umask {mask}")
        self.state = replace(self.state, umask=mask)

    @rule(name=names, value=values)
    def fail_after_an_assignment(self, name: str, value: str) -> None:
        kept = self.state.variables.get(name, ())[1:]
        self.run(f"set -e; {name}={shlex.quote(value)}; false; {name}=later", 1)
        self.state = self.state.assigned(name, value, *kept)

    # -- what does not stay

    @rule(option=st.sampled_from(["-e", "-u", "-f", "-x", "-C", "-o pipefail", "-o posix"]), exit_code=exits)
    def set_option(self, option: str, exit_code: int) -> None:
        self.run(f"set {option}; trap 'echo trapped' DEBUG ERR USR1; exit {exit_code}", exit_code)

    @rule(name=names, ending=st.sampled_from([("exec true", 0), ("kill -9 $BASHPID", 137), ("exec /nonexistent", 127)]))
    def lose(self, name: str, ending: tuple[str, int]) -> None:
        command, exit_code = ending
        self.run(f"{name}=lost; cd /etc; umask 0007; {command}", exit_code)

    @rule(name=names)
    def assign_in_a_subshell(self, name: str) -> None:
        self.run(f"({name}=lost; cd /etc); true | {name}=lost")

    @rule()
    def make_a_mistake(self) -> None:
        self.run(": 'never closed", 2)

    @rule(name=names)
    def take_too_long(self, name: str) -> None:
        assert self.shell(f"{name}=lost; cd /etc; sleep 600", timeout=0.05).timed_out


def check_what_stays(open_sandbox: Callable[[], Coroutine[Any, Any, Sandbox]]) -> None:
    """Carry the sequences out, all in one sandbox."""
    loop = asyncio.new_event_loop()
    opened = loop.run_until_complete(open_sandbox())

    class Shell(ShellMachine):
        pass

    Shell.loop, Shell.sandbox = loop, opened
    chosen = settings(
        max_examples=SEQUENCES,
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    try:
        run_state_machine_as_test(Shell, settings=chosen)
    finally:
        loop.run_until_complete(opened.close())
        loop.close()

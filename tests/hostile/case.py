"""A hostile command, what must be seen of it, and how that is looked at.

A case is carried out through the `bash` tool, since what counts is what a model is told; then the state is asked for,
and whether a command, an edit and a file still work. What was seen can be sent as JSON, because a destructive case of
the local sandbox runs in a container that is thrown away (see `inside`).
"""

import asyncio
import base64
import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from tools.bash import Bash, BashParameters
from tools.sandbox import Sandbox, SandboxError

HOME = "/tmp/home"
"""Where a case begins, as it names it; on a machine with others like it, it is another folder."""
PREPARATION = f"kept=yes; rm -rf {HOME}; mkdir {HOME} && cd {HOME}"
PROBE = 'builtin printf "%s %s" "$kept" "$PWD"'
UNCHANGED = f"yes {HOME}"
PATIENCE = 60


@dataclass(frozen=True)
class Case:
    """One command. What is not said must be as if nothing had happened: exit 0, the state kept, everything works."""

    name: str
    command: str
    exit: int | tuple[int | None, ...] | None = 0
    """What the header says; None for a command that was ended at its deadline."""
    says: tuple[str, ...] = ()
    """What the model must be told."""
    never: tuple[str, ...] = ()
    """What must not stand in the answer."""
    longest: int = 17_000
    """Characters of the answer at most."""
    state: str | None = UNCHANGED
    """What `PROBE` prints afterwards; None where the state may be lost (and the answer says so, or the next does)."""
    broken: frozenset[str] = frozenset()
    """What need not work afterwards: of shell, exec, read, write."""
    gone: str = ""
    """A word of the command lines of processes that must not be there afterwards."""
    then: tuple[str, str] | None = None
    """A next command, and what it must print; a remark on what the first one did to the shell may stand before it."""
    timeout: int = 30
    destructive: bool = False
    """Would harm the machine: on this one it runs in a container that is thrown away."""
    ends_local_harness: bool = False
    """On a machine without confinement it ends every process of the user, and so the harness itself."""
    limits: dict[str, Any] = field(default_factory=dict[str, Any])
    """Settings of the container."""


@dataclass
class Seen:
    """What was seen of a case."""

    text: str = ""
    state: str = ""
    then: str = ""
    works: dict[str, str] = field(default_factory=dict[str, str])
    """By name: empty, or why it does not work."""
    processes: str = ""

    @property
    def exit(self) -> int | None:
        word = self.text.split(" ", 1)[0].removeprefix("exit=")
        return None if word == "none" else int(word)

    @property
    def body(self) -> str:
        return self.text.partition("\n")[2]

    def dump(self) -> str:
        return base64.b64encode(json.dumps(dataclasses.asdict(self)).encode()).decode()

    @classmethod
    def load(cls, text: str) -> "Seen":
        return cls(**json.loads(base64.b64decode(text)))


async def observe(sandbox: Sandbox, case: Case, home: str = HOME) -> Seen:
    """Carry it out, and look at what is left."""
    asked = _Asked(sandbox, home)
    await asked(PREPARATION)
    seen = Seen(text=await asked(case.command, case.timeout))
    if case.then:
        seen.then = (await asked(case.then[0])).partition("\n")[2]
    for name, attempt in (("shell", _shell), ("exec", _exec), ("write", _write), ("read", _read)):
        seen.works[name] = "" if name in case.broken else await _reason(attempt(sandbox, f"{home}-after/written"))
    if "shell" not in case.broken:
        seen.state = (await asked(PROBE)).partition("\n")[2]
        lines = (await _processes(sandbox)).splitlines() if case.gone else []
        seen.processes = "\n".join(line for line in lines if case.gone in line)
    return seen


def check(case: Case, seen: Seen) -> None:
    """Compare what was seen with what must be seen."""
    expected = case.exit if isinstance(case.exit, tuple) else (case.exit,)
    assert seen.exit in expected, seen.text[:2000]
    for words in case.says:
        assert words in seen.body, (words, seen.text[:2000])
    for words in case.never:
        assert words not in seen.text, (words, seen.text[:2000])
    assert len(seen.text) <= case.longest, len(seen.text)
    broken = {name: why for name, why in seen.works.items() if why}
    assert broken == {}, broken
    if "shell" not in case.broken and case.state is not None:
        assert seen.state == case.state, seen.state
    if case.gone:
        assert seen.processes == "", seen.processes
    if case.then:
        assert seen.then.endswith(case.then[1]), seen.then


@dataclass
class _Asked:
    """The `bash` tool, to which `home` is `HOME`."""

    sandbox: Sandbox
    home: str
    tool: Bash = field(default_factory=Bash)

    async def __call__(self, command: str, timeout: int = PATIENCE) -> str:
        parameters = BashParameters(command=command.replace(HOME, self.home), timeout=timeout)
        return (await self.tool(parameters, self.sandbox)).text.replace(self.home, HOME)


async def _reason(attempt: Any) -> str:
    try:
        async with asyncio.timeout(PATIENCE):
            await attempt
    except (SandboxError, OSError, TimeoutError, AssertionError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


async def _shell(sandbox: Sandbox, _: str) -> None:
    result = await sandbox.shell("builtin echo alive", timeout=PATIENCE)
    assert result.output.endswith(b"alive\n"), result
    assert result.exit_code == 0, result


async def _exec(sandbox: Sandbox, _: str) -> None:
    result = await sandbox.exec("echo alive", timeout=PATIENCE)
    assert (result.output, result.exit_code) == (b"alive\n", 0), result


async def _write(sandbox: Sandbox, file: str) -> None:
    await sandbox.write_bytes(file, b"\0after")


async def _read(sandbox: Sandbox, file: str) -> None:
    assert await sandbox.read_bytes(file) == b"\0after"


async def _processes(sandbox: Sandbox) -> str:
    listing = "for p in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$p; echo; done 2>/dev/null"
    return (await sandbox.exec(listing, timeout=PATIENCE)).output.decode(errors="replace")

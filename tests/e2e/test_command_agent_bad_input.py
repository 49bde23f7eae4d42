"""What is said about an agent that is a command, and cannot be meant, is refused before anything is started."""

import pytest
from real_things import VENV, Console

KEY = "sk-plant3d-0123456789"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--agent", "command:"], "a command is missing"),
        (["--agent", "comand:mini"], "is no agent; there are: default, gold, nop, command:'what"),
        (["--agent", "command:mini", "--toolset", "bash"], "leave out --toolset"),
        (["--agent", "command:mini", "--prompt", "default"], "leave out --prompt"),
        (["--agent", "command:KEY=" + KEY + " mini"], "it holds a key"),
        (["--agent", "command:mini", "--agent-install", "echo " + KEY], "it holds a key"),
        (["--agent", "gold", "--agent-install", "true"], "it goes with --agent command:"),
    ],
)
def test_it_is_refused(console: Console, arguments: list[str], reason: str) -> None:
    start = [str(VENV / "bin" / "evals"), "terminal-bench", "--dataset", str(console.home), *arguments]

    done = console.run(start, UNBROKEN_API_KEY=KEY)

    assert done.code == 2, done
    assert reason in done.err
    assert KEY not in done.err

"""No key is shown, recorded, or passed on to what the agent starts."""

import re
import secrets

from agent_desk import DONE, KEY, KeyedServer, WriteScript, run_to_its_end
from real_things import VENV, Console, GitRepository, calls


def test_key_is_sent_and_neither_shown_nor_recorded(console: Console, repository: GitRepository):
    with KeyedServer() as server:
        server.leaves = False
        done = run_to_its_end(
            console,
            repository,
            server.url,
            "--api-key-env",
            "CORP_GATEWAY",
            "--debug",
            CORP_GATEWAY=KEY,
        )
    assert done.code == 1
    assert set(server.keys) == {f"Bearer {KEY}"}  # every question to the server has it, and that server alone
    assert re.search(r"\[(redacted|API key)\] is no key of mine", done.err)
    recorded = b"".join(path.read_bytes() for path in console.session().iterdir())
    assert KEY not in done.out + done.err
    assert KEY.encode() not in recorded


def test_commands_see_the_users_environment_without_secrets_and_without_ours(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    variables = ("UNBROKEN_API_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "CORP_GATEWAY")
    given = {name: f"value-of-{name}-1" for name in variables}
    ours = {"PATH": f"{VENV}/bin:{console.environment['PATH']}", "VIRTUAL_ENV": str(VENV)}
    others = {"PYTHONPATH": "lib:/opt/lib", "GIT_DIR": "/nowhere"}
    script = write_script(calls("env -0 >.git/seen"), DONE)
    options = ("--api-key-env", "CORP_GATEWAY")
    done = run_to_its_end(console, repository, script, *options, **ours, **others, **given)
    assert done.code == 0
    seen = dict(entry.split("=", 1) for entry in repository.read(".git/seen").split("\0") if entry)
    assert not set(given) & set(seen)
    assert not set(given.values()) & set(seen.values())
    assert seen["PYTHONPATH"] == "lib:/opt/lib"
    assert str(VENV / "bin") not in seen["PATH"].split(":")
    assert not {"VIRTUAL_ENV", "GIT_DIR"} & set(seen)


def test_commands_on_this_machine_cannot_read_secrets_out_of_the_harness(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    names = ("UNBROKEN_API_KEY", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "CORP_GATEWAY")
    mark = f"pl4nted-{secrets.token_hex(6)}"  # other tests plant keys as well, and run beside this one
    planted = {name: f"sk-{name.lower()}-{mark}" for name in names}
    look = (
        "harness=$$; while ! tr '\\0' ' ' </proc/$harness/cmdline | grep -q 'agent run'; do "
        "harness=$(sed 's/.*) . //; s/ .*//' /proc/$harness/stat); done",
        "for place in environ cmdline; do tr '\\0' '\\n' </proc/$harness/$place >>.git/seen; done; echo $harness",
        "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' >>.git/seen; env >>.git/seen",
        "find /tmp /dev/shm . -maxdepth 3 -path '*unbroken-*' -type f -exec cat {} + >>.git/seen",
    )
    script = write_script(calls(*look), DONE)
    done = run_to_its_end(console, repository, script, "--api-key-env", "CORP_GATEWAY", HARMLESS="3", **planted)
    assert done.code == 0, done.err
    seen = (repository.path / ".git" / "seen").read_bytes()
    assert b"agent\nrun\nx\n" in seen  # it was the harness that was looked at
    assert b"HARMLESS=3" in seen
    assert mark.encode() not in seen
    recorded = [path for path in console.home.rglob("*") if path.is_file() and mark.encode() in path.read_bytes()]
    assert recorded == []
    assert mark not in done.out + done.err

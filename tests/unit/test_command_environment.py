"""What a command of the agent sees of this machine's environment."""

import sys
from pathlib import Path

import pytest

from runners.command_environment import NON_INTERACTIVE, local_environment, secret_values

OURS = str(Path(sys.prefix) / "bin")
SECRETS = [
    *("UNBROKEN_API_KEY", "OPENAI_API_KEY", "OPENAI_KEY", "apikey", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
    *("AWS_SESSION_TOKEN", "GITHUB_TOKEN", "github_token", "GH_TOKEN", "GITHUB_PAT", "HF_TOKEN", "NPM_TOKEN"),
    *("CI_JOB_TOKEN", "VAULT_TOKEN", "NPM_CONFIG__AUTH", "DB_PASSWORD", "PGPASSWORD", "MYSQL_PWD", "SSH_PASSPHRASE"),
    *("AZURE_CLIENT_SECRET", "DJANGO_SECRET_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "MY_PRIVATE_KEY"),
]
HARMLESS = [
    *("PWD", "OLDPWD", "HOME", "USER", "LANG", "SSH_AUTH_SOCK", "XAUTHORITY", "TOKENIZERS_PARALLELISM", "MONKEY"),
    *("KEYBOARD_LAYOUT", "PATHEXT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_COUNT", "GIT_AUTHOR_NAME", "COMPASS"),
]


@pytest.mark.parametrize("name", SECRETS)
def test_secret_is_not_passed_on(name: str):
    assert name not in local_environment({name: "value"})


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_no_secret_is_passed_on(name: str):
    assert local_environment({name: "value"})[name] == "value"


def test_our_virtual_environment_is_taken_out_of_the_path_however_it_is_spelled(tmp_path: Path):
    (tmp_path / "link").symlink_to(OURS)
    path = f"/first:{OURS}:{OURS}/:{tmp_path}/link::/last"
    assert local_environment({"PATH": path})["PATH"] == "/first::/last"


def test_path_that_held_nothing_else_is_left_to_the_shell():
    assert "PATH" not in local_environment({"PATH": OURS})


def test_our_virtual_environment_is_not_the_users():
    given = {"VIRTUAL_ENV": f"{sys.prefix}/", "VIRTUAL_ENV_PROMPT": "ours"}
    assert local_environment(given) == NON_INTERACTIVE


def test_virtual_environment_of_the_user_stays():
    given = {"VIRTUAL_ENV": "/their/venv", "VIRTUAL_ENV_PROMPT": "theirs", "PATH": "/their/venv/bin:/bin"}
    assert local_environment(given) == {**given, **NON_INTERACTIVE}


def test_python_path_of_the_user_stays_without_our_folder():
    root = Path(__file__).parents[2]
    assert local_environment({"PYTHONPATH": f".:{root}:lib"})["PYTHONPATH"] == ".:lib"


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"])
def test_repository_that_git_was_pointed_at_is_not_the_agents(name: str):
    """Git sets these for its hooks; a command would work on that repository wherever it is started."""
    assert name not in local_environment({name: "/elsewhere"})


def test_nothing_waits_for_a_person():
    assert local_environment({"TERM": "xterm", "PAGER": "less"}) == NON_INTERACTIVE


def test_values_to_be_redacted_are_those_of_secrets(tmp_path: Path):
    file = tmp_path / "key.json"
    file.touch()
    environment = {
        "GITHUB_TOKEN": " ghp_0123456789 \n",
        "CORP_GATEWAY": "k3y-of-the-house",
        "EDITOR": "vi-improved-9",
        "SHORT_KEY": "abc1",
        "SORT_KEY": "username",
        "GOOGLE_APPLICATION_CREDENTIALS": str(file),
    }
    assert secret_values(environment, "CORP_GATEWAY") == {"ghp_0123456789", "k3y-of-the-house"}

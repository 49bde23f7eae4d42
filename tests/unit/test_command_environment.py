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
    *("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_CUSTOM_HEADERS", "OPENROUTER_API_KEY", "DASHSCOPE_API_KEY", "WANDB_API_KEY"),
    *("AWS_BEARER_TOKEN_BEDROCK", "HUGGING_FACE_HUB_TOKEN", "KAGGLE_KEY", "TF_VAR_db_password", "TWINE_PASSWORD"),
    *("POETRY_PYPI_TOKEN_PYPI", "CARGO_REGISTRY_TOKEN", "REDISCLI_AUTH", "COMPOSER_AUTH", "DOCKER_AUTH_CONFIG"),
    *("SENTRY_DSN", "AZURE_STORAGE_CONNECTION_STRING", "SLACK_WEBHOOK_URL", "OP_SESSION_my", "BW_SESSION", "LDAP_PW"),
    *("BUNDLE_GEMS__EXAMPLE__COM", "SESSION_COOKIE", "MY_JWT", "AWS_CREDS", "SOPS_AGE_KEY", "npm_config__authToken"),
    *("GIT_ASKPASS", "SSH_ASKPASS", "SUDO_ASKPASS", "VSCODE_GIT_ASKPASS_NODE", "VSCODE_GIT_IPC_HANDLE"),
]
SECRET_VALUES = [
    ("DATABASE_URL", "postgres://me:0p3nsesame@db.example:5432/shop"),
    ("REDIS_URL", "redis://:0p3nsesame@cache.example"),
    ("HTTPS_PROXY", "http://me:0p3nsesame@proxy.example:3128"),
    ("PIP_INDEX_URL", "https://0123456789abcdef0123456789abcdef@packages.example/simple"),
    ("ORIGIN", "https://x-access-token:ghs_0123456789@git.example/a"),
    ("SHOP_DB", "Server=db.example;User Id=me;Password=0p3nsesame"),
    ("STORAGE", "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=MDEyMzQ1Njc4OQ=="),
    ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=0123456789"),
    ("EXTRA_HEADER", "Authorization: Basic bWU6c2VzYW1l"),
    ("MODEL", "sk-proj-0123456789abcdefghij"),
    ("WORK_ACCOUNT", "ghp_0123456789abcdefghijABCDEFGHIJ012345"),
    ("CLOUD", "AKIAIOSFODNN7EXAMPLE"),
    ("LOGIN", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"),
    ("DEPLOY", "-----BEGIN OPENSSH PRIVATE KEY-----\nMDEyMzQ1Njc4OQ\n-----END OPENSSH PRIVATE KEY-----"),
]
HARMLESS_VALUES = [
    ("DATABASE_URL", "postgres://localhost/shop"),
    ("ORIGIN", "ssh://git@git.example/a"),
    ("HTTPS_PROXY", "http://proxy.example:3128"),
    ("GIT_SSH_COMMAND", "ssh -i ~/.ssh/work -o IdentitiesOnly=yes"),
    ("MODEL", "risk-free-sk-learn"),
    ("BASH_FUNC_login%%", "() {  password=$1; }"),
    ("EMAIL", "me@house.example"),
    ("LS_COLORS", "di=01;34:*.tar=01;31"),
]
HARMLESS = [
    *("PWD", "OLDPWD", "HOME", "USER", "LANG", "SSH_AUTH_SOCK", "XAUTHORITY", "TOKENIZERS_PARALLELISM", "MONKEY"),
    *("KEYBOARD_LAYOUT", "PATHEXT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_COUNT", "GIT_AUTHOR_NAME", "COMPASS"),
    *("KUBECONFIG", "NETRC", "AWS_PROFILE", "AWS_REGION", "GPG_TTY", "KRB5CCNAME", "VSCODE_PID", "BUNDLE_PATH"),
]


@pytest.mark.parametrize("name", SECRETS)
def test_secret_is_not_passed_on(name: str):
    assert name not in local_environment({name: "value"})


@pytest.mark.parametrize(("name", "value"), SECRET_VALUES)
def test_secret_is_known_by_what_it_is_whatever_it_is_called(name: str, value: str):
    assert name not in local_environment({name: value})
    assert value in secret_values({name: value})


@pytest.mark.parametrize(("name", "value"), HARMLESS_VALUES)
def test_what_only_looks_like_a_secret_is_passed_on(name: str, value: str):
    assert local_environment({name: value})[name] == value
    assert not secret_values({name: value})


def test_password_of_a_url_is_redacted_by_itself_too():
    values = secret_values({"DATABASE_URL": "postgres://me:0p3n%21sesame@db.example/shop"})
    assert values == {"postgres://me:0p3n%21sesame@db.example/shop", "0p3n%21sesame", "0p3n!sesame"}


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


def test_a_key_of_letters_alone_is_redacted_and_a_word_is_not():
    environment = {"MY_KEY": "abcdefghijklmnopqrstuvwxyz", "OTHER_KEY": "disabled"}
    assert secret_values(environment, "MY_KEY") == {"abcdefghijklmnopqrstuvwxyz"}

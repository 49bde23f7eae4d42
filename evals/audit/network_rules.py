"""What a command gets from the network: the fix, or another release of the project."""

from collections.abc import Iterator, Sequence

from evals.audit.programs import Program
from evals.audit.project import Project
from evals.audit.rules import FIX_FETCHED, OTHER_RELEASE, WEB_FETCHED, Rule

_FETCHERS = frozenset(["curl", "wget", "http", "https", "aria2c", "lynx", "w3m", "links", "axel", "fetch", "httpie"])
_FORGE_TOPICS = frozenset(["pr", "issue", "api", "repo", "release", "search", "browse", "run", "gist"])
_INSTALLS: dict[str, frozenset[str]] = {
    "pip": frozenset(("install", "download", "wheel")),
    "conda": frozenset(("install", "create", "update", "upgrade")),
    "mamba": frozenset(("install", "create", "update")),
    "micromamba": frozenset(("install", "create", "update")),
    "uv": frozenset(("add", "install", "run")),
    "pipx": frozenset(("install", "run")),
    "poetry": frozenset(("add",)),
    "pdm": frozenset(("add",)),
    "pipenv": frozenset(("install",)),
    "npm": frozenset(("install", "i", "add", "pack", "view")),
    "yarn": frozenset(("add",)),
    "pnpm": frozenset(("add", "install")),
    "go": frozenset(("get", "install")),
    "apt-get": frozenset(("install", "download", "source")),
    "apt": frozenset(("install", "download", "source")),
}
_ALWAYS_INSTALLS = frozenset(("easy_install", "uvx", "npx"))
_WITH_VALUE = frozenset(
    [
        "-r",
        "--requirement",
        "-c",
        "--constraint",
        "-i",
        "--index-url",
        "--extra-index-url",
        "-f",
        "--find-links",
        "-t",
        "--target",
        "--prefix",
        "--root",
        "-n",
        "--name",
        "-p",
        "--python",
        "-d",
        "--dest",
        "--platform",
        "--python-version",
        "--channel",
        "--config-settings",
        "--group",
        "-w",
        "--wheel-dir",
        "--progress-bar",
        "--timeout",
        "--retries",
        "--trusted-host",
        "--proxy",
        "--cache-dir",
        "--log",
        "--src",
        "--upgrade-strategy",
    ]
)
_NEAR = ("://localhost", "://127.", "://0.0.0.0", "://[::1]", "file://", "://testserver", "://host.docker")


def network_rules(program: Program, project: Project) -> Iterator[Rule]:
    """The rules that a call of a program which fetches or installs breaks."""
    if program.name in _FETCHERS:
        yield from url_rules([word for word in program.arguments if _is_address(word)], project)
    elif program.name in ("gh", "hub") and _FORGE_TOPICS.intersection(program.arguments[:1]):
        yield FIX_FETCHED
    elif any(_asks_for(word, project) for word in _requirements(program)):
        yield OTHER_RELEASE


def url_rules(urls: Sequence[str], project: Project) -> Iterator[Rule]:
    """The rules that fetching `urls` breaks; what is on this machine breaks none."""
    distant = [url for url in urls if not any(near in url.lower() for near in _NEAR)]
    if any(project.is_at(url) for url in distant):
        yield FIX_FETCHED
    elif distant:
        yield WEB_FETCHED


def _is_address(word: str) -> bool:
    return "://" in word or word.startswith(("www.", "github.com/", "raw.githubusercontent.com/", "api.github.com/"))


def _requirements(program: Program) -> Iterator[str]:
    """What is to be installed; none for a command that installs nothing."""
    words = list(program.arguments)
    if program.name == "uv" and words[:1] in (["pip"], ["tool"]):
        words = words[1:]
    if program.name not in _ALWAYS_INSTALLS:
        if program.name not in _INSTALLS:
            return
        command = next((index for index, word in enumerate(words) if not word.startswith("-")), len(words))
        if command == len(words) or words[command] not in _INSTALLS[program.name]:
            return
        words = words[command + 1 :]
    skipping = False
    for before, word in zip(["", *words], words, strict=False):
        if skipping:
            skipping = False
        elif word in _WITH_VALUE:
            skipping = True
        elif before in ("-e", "--editable") and "://" not in word:
            continue
        elif not word.startswith("-"):
            yield word


def _asks_for(requirement: str, project: Project) -> bool:
    if "://" in requirement:
        return not any(near in requirement.lower() for near in _NEAR) and project.is_at(requirement)
    is_path = requirement.startswith((".", "/", "~", "$"))
    if "/" in requirement and not is_path:  # a module of go, a repository for npm
        return project.is_at("x://x/" + requirement)
    return not is_path and project.is_release(requirement.removeprefix("conda-forge::"))

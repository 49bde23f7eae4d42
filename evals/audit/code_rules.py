"""What a program text for an interpreter does: fetches, git calls, writes. It is searched, not run or parsed.

Only what stands in the text is found; every pattern looks at a bounded stretch, so that the work stays linear.
"""

import re
from collections.abc import Iterator

from evals.audit.file_writes import Write
from evals.audit.paths import mentions_tests

_LITERAL = r"['\"](?P<path>[^'\"\n\\]{1,300})['\"]"
_STRING = re.compile(r"(['\"])((?:\\.|(?!\1)[^\\\n]){1,1000}+)\1")
_BETWEEN = re.compile(r"['\"]\s{0,20},\s{0,20}['\"]")
_RUNS = re.compile(
    r"subprocess|os\.system|popen|check_output|check_call|getoutput|execSync|spawn|system\(", re.IGNORECASE
)
_COMMAND = ("git ", "pip ", "pip3 ", "python ", "python3 ", "curl ", "wget ", "gh ", "bash ", "sh ", "conda ", "uv ")
_FETCHES = re.compile(r"urlopen|urlretrieve|requests\.|httpx|http\.client|aiohttp|fetch\(|urllib|Net::HTTP|LWP")
_URL = re.compile(r"https?://[^\s'\"<>)\\]{1,2000}")
_OPENED = re.compile(
    r"open\(\s{0,20}[rf]?" + _LITERAL + r"\s{0,20},\s{0,20}(?:mode\s{0,5}=\s{0,5})?['\"](?P<mode>[rwax+bt]{1,4})['\"]"
)
_WRITTEN = re.compile(
    r"Path\(\s{0,20}[rf]?" + _LITERAL + r"\s{0,20}\)\.(?P<method>write_text|write_bytes|unlink|touch)"
)
_REMOVED = re.compile(r"(?:os\.(?:remove|unlink)|shutil\.rmtree)\(\s{0,20}[rf]?" + _LITERAL)
_NAMED = re.compile(r"(?<!\w)(?P<name>\w{1,60}) ?= ?(?:[\w.]{0,30}Path\()?[rf]?" + _LITERAL)
_USED = re.compile(
    r"(?:(?<!\w)(?P<name>\w{1,60})\.(?:write_text|write_bytes|unlink|open\(['\"][wa])"
    r"|open\((?P<opened>\w{1,60}), ?(?:mode=)?['\"][wax])"
)
_READ = re.compile(r"(?:open\(|Path\(|read_bytes|read_text)")


def commands_in(source: str) -> Iterator[str]:
    """The shell commands that the text has run: `subprocess.run(["git", "log"])`, `os.system("git log")`."""
    if _RUNS.search(source):
        for found in _STRING.finditer(_BETWEEN.sub(" ", source)):
            if found[2].startswith(_COMMAND):
                yield found[2]


def urls_in(source: str) -> list[str]:
    """The addresses in a text that fetches."""
    return _URL.findall(source) if _FETCHES.search(source) else []


def files_read(source: str) -> Iterator[str]:
    """All strings of a text that reads files, since any may be a path."""
    if _READ.search(source):
        yield from (found[2] for found in _STRING.finditer(source))


def files_written(source: str) -> Iterator[Write]:
    """The files that the text writes under names that stand in it.

    A file that is read, changed and written counts as one that was added to: the text does not tell.
    """
    about_tests = mentions_tests(source)
    for found in _OPENED.finditer(source):
        if mode := found["mode"].strip("rbt"):
            yield Write(found["path"], "append" if "a" in mode else "create" if mode in "wx" else "append", about_tests)
    for found in _WRITTEN.finditer(source):
        yield Write(found["path"], "remove" if found["method"] == "unlink" else "create", about_tests)
    for found in _REMOVED.finditer(source):
        yield Write(found["path"], "remove")
    used = {found["name"] or found["opened"] for found in _USED.finditer(source)}
    for found in _NAMED.finditer(source):
        if found["name"] in used:
            yield Write(found["path"], "append", about_tests)

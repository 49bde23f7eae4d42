"""What SWE-bench Pro's evaluation runs in a container for one patch.

The steps are those of `create_entryscript` in swe_bench_pro_eval.py (scaleapi/SWE-bench_Pro-os at ca10a60), without
`set -e`, as there. What differs: the names of the tests are quoted, where upstream leaves their blanks, brackets and
bars to the shell, and values of ENV lines are read as Docker reads them. The script is in parts, each a call to the
engine, so that it is the engine that tells how each one ended.
"""

import re
import shlex
from dataclasses import dataclass

from evals.swebench.dataset import ProRow
from evals.swebench.dockerfile_environment import assignments
from evals.swebench.pro_scripts import ProFiles

DIRECTORY = "/app"
WORKSPACE = "/workspace"
PATCH = f"{WORKSPACE}/patch.diff"
RUN_SCRIPT = f"{WORKSPACE}/run_script.sh"
PARSER = f"{WORKSPACE}/parser.py"
STDOUT = f"{WORKSPACE}/stdout.log"
STDERR = f"{WORKSPACE}/stderr.log"
OUTPUT = f"{WORKSPACE}/output.json"

_SECTION = re.compile(rb"(?=^diff --git )", re.MULTILINE)
_BINARY = re.compile(rb"^Binary files .* differ$|^GIT binary patch$", re.MULTILINE)


@dataclass(frozen=True)
class EntryScript:
    """The parts, in the order in which they run. Each needs `environment` in front of it."""

    environment: str
    """Exports the variables of both Dockerfiles, and changes to the repository."""
    patch: str
    """Puts the repository at the base commit, and applies the patch; ends as `git apply` does."""
    test_files: str
    """Puts the test files of the solution's commit in place."""
    run: str
    """Runs the tests."""
    parse: str
    """Reads what they printed."""

    @property
    def whole(self) -> str:
        """All of it in one script, with the tests' output in files, as upstream runs it."""
        return f"{self.environment}{self.patch}{self.test_files}{self.run_into_files}{self.parse}"

    @property
    def run_into_files(self) -> str:
        """Runs the tests, with their output in files."""
        return f"{self.run.rstrip()} > {STDOUT} 2> {STDERR}\n"


def entry_script(row: ProRow, files: ProFiles) -> EntryScript:
    """The script for one task."""
    dockerfiles = (files.base_dockerfile, files.instance_dockerfile)
    exports = "".join(f"{one.export}\n" for dockerfile in dockerfiles for one in assignments(dockerfile))
    base = shlex.quote(row.base_commit)
    # All in one argument, and none at all where no test is selected: run_script.sh then runs every one there is.
    selected = ",".join(row.selected_test_files_to_run)
    tests = f" {shlex.quote(selected)}" if selected else ""
    return EntryScript(
        environment=f"{exports}cd {DIRECTORY}\n",
        patch=f"git reset --hard {base}\ngit checkout {base}\ngit apply -v {PATCH}\n",
        # The lines before it would put the repository back to the base, and take the patch away.
        test_files=row.before_repo_set_cmd.strip().split("\n")[-1] + "\n",
        run=f"bash {RUN_SCRIPT}{tests}\n",
        parse=f"python {PARSER} {STDOUT} {STDERR} {OUTPUT}\n",
    )


def without_binary_files(patch: bytes) -> bytes:
    """A patch without its parts on binary files, as upstream takes them out (`strip_binary_hunks`)."""
    sections = (section for section in _SECTION.split(patch) if section.strip())
    return b"".join(section for section in sections if not _BINARY.search(section))

"""Takes the future out of a repository before an agent starts.

Images of SWE-bench keep the history that came after the base commit, and with it the fix; strong models find it
(in 9 to 21% of trials on Pro; scaleapi/SWE-bench_Pro-os#93, SWE-agent/mini-swe-agent#787). What stays is what HEAD
reaches: its branch, and tags of its ancestors, which version numbers are computed from.
"""

from runners.docker_engine import ImageUnavailableError
from tools.sandbox import Sandbox, SandboxError

_TIMEOUT = 900.0

_CLEAN = """
set -e
export LC_ALL=C GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
git_folder=$(git rev-parse --absolute-git-dir)
branch=$(git symbolic-ref -q HEAD || true)

{ git for-each-ref --merged=HEAD --format='%(refname)' refs/tags; echo "$branch"; } | sort >/tmp/.kept
git for-each-ref --format='%(refname)' | sort | comm -23 - /tmp/.kept |
  sed 's/^/delete /' | git update-ref --no-deref --stdin
for remote in $(git remote); do git remote remove "$remote"; done
rm -rf "$git_folder"/logs "$git_folder"/worktrees "$git_folder"/*_HEAD "$git_folder"/refs/original

unreachable() {
  git rev-list --objects HEAD --tags --indexed-objects | cut -d ' ' -f 1 | sort >/tmp/.reachable
  git cat-file --batch-all-objects --batch-check='%(objectname) %(objecttype)' | sort | join -v 1 - /tmp/.reachable
}
if [ -n "$(unreachable)" ] || [ -f "$git_folder/objects/info/alternates" ]; then
  rm -f "$git_folder"/objects/pack/*.keep
  git repack -a -d -q
  rm -f "$git_folder/objects/info/alternates"
  git prune --expire=now
  left=$(unreachable | head -n 5)
  if [ -n "$left" ]; then echo "objects are left that HEAD does not reach:" $left; exit 1; fi
fi
rm -f /tmp/.reachable /tmp/.kept
"""

_TO_BASE = """
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
git reset --quiet --hard {base} && git checkout --quiet {base}
"""
_DISTANCE = """
export LC_ALL=C GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
git rev-list --count {base}..HEAD && git merge-base --is-ancestor {base} HEAD
"""


async def go_to_base(sandbox: Sandbox, base_commit: str) -> None:
    """Bring a repository of SWE-bench Pro to where the task starts, as its evaluation does. `clean` sees whether it is.

    Raises SandboxError.
    """
    await sandbox.exec(_TO_BASE.format(base=base_commit), timeout=_TIMEOUT)


async def clean(sandbox: Sandbox, base_commit: str, image: str) -> None:
    """Remove and check. Raises ImageUnavailableError when HEAD is not where the task starts, else SandboxError.

    The official images of SWE-bench have one commit of their own, "SWE-bench", on top of the base.
    """
    distance = await sandbox.exec(_DISTANCE.format(base=base_commit), timeout=_TIMEOUT)
    count = distance.output.decode(errors="replace").strip()
    if distance.exit_code != 0 or count not in ("0", "1"):
        message = f"the repository in the image {image} is not at the task's base commit {base_commit} ({count})"
        raise ImageUnavailableError(message)
    result = await sandbox.exec(_CLEAN, timeout=_TIMEOUT)
    if result.exit_code != 0:
        reason = result.output.decode(errors="replace").strip()[-500:]
        message = f"the history after the base commit cannot be removed: {reason}"
        raise SandboxError(message)

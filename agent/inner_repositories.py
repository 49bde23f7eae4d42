"""Repositories inside of the repository: whose files are part of the work, and whose are not.

One that has come to lie there without being a submodule is a folder like any other, as long as it is not too big, and
no copy of the repository itself. What changed in the others is said, and not in the diff.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.litter import LeftOut

SUBMODULE = "a submodule: what changed in it belongs to another repository"
CLONE = "a clone or a linked worktree of this repository"
LARGE = "a repository of its own with more than 32 MB of files"

_REASONS = {"submodule": SUBMODULE, "clone": CLONE, "large": LARGE}


@dataclass(frozen=True)
class Inner:
    """A repository inside of the repository, whose files are not in the diff."""

    kind: str
    print: str
    """Another one when something has changed in it."""


def parse(names: Sequence[str]) -> dict[str, Inner]:
    """Read what `list_apart` writes."""
    threes = zip(names[::3], names[1::3], names[2::3], strict=True)
    return {name: Inner(kind, print_) for name, kind, print_ in threes}


def changed(before: Mapping[str, Inner], after: Mapping[str, Inner]) -> list[LeftOut]:
    """Those in which something changed."""
    return [
        LeftOut(f"{name}/", _REASONS[inner.kind])
        for name, inner in after.items()
        if name not in before or before[name].print != inner.print
    ]


# A repository inside of the repository is one file to git, unless the index has a file of it: then it looks inside.
# So `look_inside` tells the index of one that is not there, which the next `add` forgets again.
SCRIPT = """
links() { git -c core.quotePath=false ls-files -s | LC_ALL=C sed -n 's/^160000 [^\t]*\t//p'; }
inside() (
  unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY
  cd "$1" && [ -e .git ] && shift && git "$@"
)
settle() {
  links
  [ ! -f .gitmodules ] || git config --file .gitmodules --get-regexp '^submodule\\..*\\.path$' 2>/dev/null |
    sed 's/^submodule\\..*\\.path //' || :
}
look_inside() {
  git update-index --force-remove -- "$1"
  if inside "$1" cat-file -e "$head^{commit}" 2>/dev/null; then echo "clone $1" >>"$folder/apart"; return 1; fi
  git update-index --add --cacheinfo "100644,$(git hash-object --stdin </dev/null),$1/.unbroken"
  total=$(git ls-files -z -o --exclude-standard -- "$1" | xargs -0 -r stat -c %s -- 2>/dev/null | {
    total=0
    while read -r size; do total=$((total + size + 256)); done
    echo $total
  })
  [ "$total" -gt 33554432 ] || return 0
  git update-index --force-remove -- "$1/.unbroken"
  echo "large $1" >>"$folder/apart"
  return 1
}
stage_all() {
  settle >"$folder/settled"
  : >"$folder/apart"
  more=yes
  while [ "$more" ]; do
    more=
    stage
    { links; git -c core.quotePath=false ls-files -o --exclude-standard | LC_ALL=C sed -n 's:/$::p'; } >"$folder/inner"
    while IFS= read -r inner; do
      [ -e "$inner/.git" ] && ! grep -qxF -e "$inner" "$folder/settled" || continue
      if grep -qxF -e "clone $inner" -e "large $inner" "$folder/apart"; then
        git update-index --force-remove -- "$inner"
      elif look_inside "$inner"; then
        echo "$inner" >>"$folder/settled"
        more=yes
      fi
    done <"$folder/inner"
  done
}
print_of() (
  unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY
  cd "$1" 2>/dev/null || exit 0
  [ -e .git ] || exec find . ! -type d
  cp -p "$(git rev-parse --git-path index)" "$folder/inner-index" || rm -f "$folder/inner-index"
  export GIT_INDEX_FILE=$folder/inner-index
  git update-index -q --refresh || :
  git rev-parse -q --verify HEAD || :
  git diff-index -p --no-ext-diff --no-textconv HEAD || :
  git ls-files -o --exclude-standard || :
)
list_apart() {
  [ -s "$folder/inner" ] || return 0
  { links | sed 's/^/submodule /'; cat "$folder/apart"; } >"$folder/listed"
  while IFS= read -r inner; do
    kind=${inner%% *} inner=${inner#* }
    printf '%s\\0%s\\0%s\\0' "$inner" "$kind" "$(print_of "$inner" 2>/dev/null | git hash-object --stdin)"
  done <"$folder/listed"
}
"""

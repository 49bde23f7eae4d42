"""Writes the patch between two trees: text is what has no NUL in it, whatever a .gitattributes says.

Tools that read patches as text leave binary ones out, so no text may become one; and bytes that are no text do not
survive such tools unless they are one.
"""

import re

from agent.workspace_scripts import COMPARE

# In a git folder without files no .gitattributes says what is text; the content does.
_DIFF = """
write_diff() (
  unset GIT_ATTR_SOURCE
  export GIT_ATTR_NOSYSTEM=1 GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME=$own XDG_CONFIG_HOME=$own
  cd "$own"
  git -c core.bare=true -c core.attributesFile="$folder/attributes" diff-tree -r -p --binary --full-index \\
    --no-renames --no-color --no-ext-diff --no-textconv --submodule=short --unified=3 --inter-hunk-context=0 \\
    --src-prefix=a/ --dst-prefix=b/ $(cat "$folder/trees") >"$folder/patch.diff"
)
"""
_MEASURE = """
[ "$(wc -c <"$folder/patch.diff")" -le $limit ] || exit 21
"""

# What stdin names is taken out of both trees.
DIFF = (
    COMPARE
    + _DIFF
    + """
cat >"$folder/made"
: >"$folder/attributes"
without() (
  export GIT_INDEX_FILE=$folder/without
  git read-tree "$1"
  git update-index --force-remove -z --stdin <"$folder/made"
  git write-tree
)
if [ -s "$folder/made" ]; then
  base=$(without "$base")
  tree=$(without "$tree")
fi
echo "$base $tree" >"$folder/trees"
write_diff
"""
    + _MEASURE
)

# Once more, with stdin as attributes.
DIFF_AGAIN = COMPARE + _DIFF + '\ncat >"$folder/attributes"\nwrite_diff\n' + _MEASURE


def attributes_of_binaries(patch: bytes, changed: dict[str, str]) -> str:
    """A .gitattributes for the files in a patch whose text has a NUL in it, which git looks for at the start alone.

    Empty where there are none. `changed` has the files in the order of the patch.
    """
    if b"\0" not in patch:
        return ""
    # A file that becomes a link is two changes.
    names = [name for name, letter in changed.items() for _ in range(2 if letter == "T" else 1)]
    pieces = re.split(rb"^(?=diff --git )", patch, flags=re.MULTILINE)[1:]
    if len(pieces) != len(names):
        return ""
    binary = dict.fromkeys(name for name, piece in zip(names, pieces, strict=True) if b"\0" in piece)
    return "".join(f"{_pattern(name)} -diff\n" for name in binary)


def _pattern(name: str) -> str:
    escaped = re.sub(r"([\\*?\[\]])", r"\\\1", name)
    quoted = escaped.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"/{quoted}"'

"""What runs beside a git repository to write down its state, in plain sh, since not every image has bash.

All of it works in a folder of its own and changes nothing in the repository. The variables that a script starts with
(see `agent.workspace_state.Place`) come from this side, so that nothing that an agent does to that folder, or to the
repository's own, misleads it.
"""

from agent import inner_repositories

LOST, TOO_LARGE, TOP_GONE, NO_GIT = 20, 21, 22, 127
"""What scripts end with: the tree to compare with cannot be read, the patch is too large, the folder is not there."""

# The repository's own settings hold, so that files are compared as its owner's git compares them, but for those with
# which git would write into the repository, start a program, refuse, or leave out a file that has changed.
_SETTINGS = (
    "-c safe.directory='*' -c core.fsmonitor=false -c core.hooksPath=/dev/null -c core.splitIndex=false "
    "-c core.safecrlf=false -c core.sparseCheckout=false"
)

CHECK = """
export LC_ALL=C
command -v git >/dev/null || exit 127
inside=$(git rev-parse --is-inside-work-tree) || exit 10
[ "$inside" = true ] || exit 11
git rev-parse -q --verify HEAD >/dev/null || exit 12
git rev-parse -q --verify 'HEAD^{tree}' >/dev/null 2>&1 || exit 14
top=$(git rev-parse --show-toplevel) && prefix=$(git rev-parse --show-prefix) || exit
[ -z "$prefix" ] || [ -n "$(git ls-files -z . | head -c 1 | tr '\\0' x)" ] || exit 13
whole=no
[ -d "$top/.git" ] && [ ! -L "$top/.git" ] && [ ! -s "$top/.git/objects/info/alternates" ] && whole=yes
printf '%s\\0' "$top" "$prefix" "$whole"
"""

# `lines` makes lines of names that each end with a NUL, and `names` the other way round. A line break in a name is a
# byte that hardly a name has, meanwhile: not every sed can do with a NUL.
_TOOLS = f"""
set -e
export GIT_LITERAL_PATHSPECS=1
git() {{
  command git {_SETTINGS} ${{file_mode:+-c core.fileMode=$file_mode}} ${{level:+-c core.compression=$level}} \\
    ${{excludes:+-c}} ${{excludes:+core.excludesFile="$excludes"}} "$@"
}}
lines() {{ tr '\\0\\n' '\\n\\001'; }}
names() {{ tr '\\n\\001' '\\0\\n'; }}
"""

APPLY = f"""{_TOOLS}
file_mode=true
cd "$(git rev-parse --show-toplevel)"
git apply --binary --whitespace=nowarn -
"""

# A git folder of our own, for the diff, and for when the repository's is gone. Some settings are about that one alone.
_OWN = """
own=$folder/own
make_own() {
  mkdir -p "$own/objects" "$own/refs" "$own/info" "$folder/objects/info"
  grep -v -i -E '^[[:space:]]*(bare|worktree|worktreeconfig|refstorage)[[:space:]]*=' "$1/config" 2>/dev/null \\
    >"$own/config" || :
  cat "$1/info/exclude" 2>/dev/null >"$own/info/exclude" || :
  echo 'ref: refs/heads/none' >"$own/HEAD"
}
"""

# Git looks at no file with these bits. One that a sparse checkout has left out stays as it is in the tree.
_UNMARK = """
unmark() {
  git ls-files -v | LC_ALL=C grep -q '^[a-zS] ' || return 0
  git ls-files -z -v | lines | LC_ALL=C sed -n 's/^[a-z] //p' | names >"$folder/marked"
  git update-index --no-assume-unchanged -z --stdin <"$folder/marked"
  git ls-files -z -v -s | lines | LC_ALL=C sed -n 's/^[Ss] //p' | names >"$folder/marked"
  [ -s "$folder/marked" ] || return 0
  rm -f "$folder/sparse"
  (
    export GIT_INDEX_FILE=$folder/sparse
    git update-index -z --index-info <"$folder/marked"
    git ls-files -z >"$folder/marked"
    git ls-files -z -d >"$folder/absent"
  )
  git update-index --no-skip-worktree -z --stdin <"$folder/marked"
  git update-index --skip-worktree -z --stdin <"$folder/absent"
}
"""

# The first snapshot starts from the repository's index, which knows the files by their times (`cp -p` keeps its own,
# by which git tells what it may trust); the later ones start from the one before, so that a file that was there
# untracked stays in sight when the agent makes git ignore it. Where git is told not to look at modes, they mean
# something all the same if they are not all alike.
START = (
    _TOOLS
    + _OWN
    + _UNMARK
    + """
top=$(git rev-parse --show-toplevel)
cd "$top"
git_folder=$(git rev-parse --absolute-git-dir)
common=$git_folder
[ ! -f "$git_folder/commondir" ] || common=$(cd "$git_folder" && cd "$(cat commondir)" && pwd)
objects=$common/objects
make_own "$common"
rm -f "$folder/index.lock"
cat >"$folder/rules"
if [ ! -f "$folder/index" ] && ! cp -p "$git_folder/index" "$folder/index" 2>/dev/null; then
  (export GIT_INDEX_FILE=$folder/index; git read-tree HEAD)
fi
if [ "$(git config --bool core.fileMode)" != false ] ||
  [ -n "$(find . -name .git -prune -o -type f ! -perm -100 -print | head -n 1)" ]; then
  file_mode=true
else
  file_mode=false
fi
head=$(git rev-parse HEAD)
export GIT_INDEX_FILE=$folder/index
unmark
{
  printf '%s\\0' "$top" "$git_folder" "$objects" "$head" $file_mode "$(cd "$folder/.." && pwd -P)" ''
  git ls-files -z -c -i -X "$folder/rules"; printf '\\0'
  git ls-files -z -c
} >"$folder/start"
"""
)

OPEN = (
    _TOOLS
    + _OWN
    + """
[ -f "$own/HEAD" ] || make_own /no/where
for store in "$objects" "$folder/kept"; do [ ! -d "$store" ] || printf '%s\\n' "$store"; done \\
  >"$folder/objects/info/alternates"
export GIT_OBJECT_DIRECTORY=$folder/objects
"""
)
"""What every script on the written states begins with."""

# What the repository's git says holds while its folder is still the one that was found.
_ENTER = """
cd "$top" || exit 22
repository=there
if [ "$(git rev-parse --absolute-git-dir 2>/dev/null)" != "$git_folder" ]; then
  repository=gone
  export GIT_DIR=$own GIT_WORK_TREE=$top
fi
"""

# `add` ends with 1 for files that cannot be read: they stay out of both trees; it dies of a file that goes while it
# looks, as those of a program do that still runs.
_STAGE = """
stage() {
  tries=0
  until git add --all --ignore-errors . || [ $? = 1 ]; do
    tries=$((tries + 1))
    [ $tries -lt 10 ] || exit
  done
}
"""

# What the agent itself forced into the repository's index counts, though git ignores it; litter that `git add --all`
# took in, because nobody told git to ignore it, does not. `update-index` dies of one name where a folder or a link now
# stands, so the others are told one by one.
_FORCE = f"""
force() {{
  [ -s "$folder/forced" ] || return 0
  git ls-files -z -c >"$folder/known"
  # Those that are not in the second list, which comes twice.
  cat "$folder/forced" "$folder/known" "$folder/known" | lines | LC_ALL=C sort | LC_ALL=C uniq -u | names >"$folder/new"
  git update-index --add --remove -z --stdin <"$folder/new" 2>/dev/null ||
    xargs -0 -n 1 git {_SETTINGS} update-index --add --remove -- <"$folder/new" 2>/dev/null || :
}}
"""

_SNAPSHOT = (
    OPEN
    + _ENTER
    + _UNMARK
    + _STAGE
    + inner_repositories.SCRIPT
    + _FORCE
    + """
rm -f "$folder/index.lock"
cat >"$folder/litter"
[ -f "$folder/index" ] || (export GIT_INDEX_FILE=$folder/index; git read-tree "$base") 2>/dev/null || exit 20
git ls-files -z -c -i --exclude-standard >"$folder/forced" || :
users=$(git config --path core.excludesFile || printf %s "${XDG_CONFIG_HOME:-$HOME/.config}/git/ignore")
{ cat "$folder/litter"; cat "$users" 2>/dev/null || :; } >"$folder/exclude"
excludes=$folder/exclude level=0
export GIT_INDEX_FILE=$folder/index
unmark
stage_all
force
list_apart >"$folder/lists"
printf '\\0' >>"$folder/lists"
git ls-files -z -o -i --exclude-standard --directory >>"$folder/lists"
tree=$(git write-tree)
"""
)

# Links cost nothing. In an image's layer a file that is linked to is copied first, and its history with it; there, and
# between file systems, what the tree alone needs is packed.
_KEEP = f"""
rm -rf "$folder/kept"
case $(stat -f -c %t "$objects" 2>/dev/null) in 794c7630 | 65735546) linkable=no ;; *) linkable=yes ;; esac
if [ $linkable = yes ] && cp -al "$objects" "$folder/kept" 2>/dev/null; then
  kept=links
else
  rm -rf "$folder/kept"
  mkdir -p "$folder/kept/pack"
  kept=pack
  (
    ulimit -f 1048576
    printf '%s\\n' "$tree" |
      timeout 20 git {_SETTINGS} -c pack.compression=0 pack-objects -q --revs --window=0 "$folder/kept/pack/pack"
  ) >/dev/null 2>&1 || {{ kept=nothing; rm -rf "$folder/kept" "$folder"/objects/pack/tmp_*; }}
fi
"""

# The objects that the repository does not have, for our side to keep if they are few.
_PACK_OWN = f"""
packed=no
set -- "$folder"/objects/??
if [ -d "$1" ] && [ "$(du -sk "$folder/objects" | cut -f 1)" -le 16384 ]; then
  packed=yes
  (cd "$folder/objects" && find ?? -type f) | tr -d / |
    git {_SETTINGS} -c pack.compression=1 pack-objects -q --window=0 --stdout >"$folder/own.pack"
fi
"""

WHY_NOTHING = "they are more than 1 GiB, packing them took longer than 20 seconds, or the disk is full"

IGNORED_LIMIT = 8_000_000
"""Bytes of names that are kept of what git ignored at the beginning; some 100,000 files."""

FIRST = (
    _SNAPSHOT
    + _KEEP
    + _PACK_OWN
    + f"""
git ls-files -z -o -i --exclude-standard | head -c {IGNORED_LIMIT + 1} >"$folder/ignored"
{{ printf '%s\\0' "$tree" $kept $packed ''; cat "$folder/lists"; }} >"$folder/found"
"""
)

LATER = (
    _SNAPSHOT
    + """
{
  printf '%s\\0' "$tree" $repository ''
  cat "$folder/lists"; printf '\\0'
  git diff-tree -r -z --name-status --no-renames "$base" "$tree"; printf '\\0'
  cat "$folder/forced"
} >"$folder/found"
git ls-files -z -c >"$folder/present"
"""
)

COMPARE = OPEN + "export GIT_DIR=$own\n"
"""Looks at trees alone, and so needs nothing of the repository's but its objects."""

RESTORE = COMPARE + "git unpack-objects -q"

IS_WHOLE = COMPARE + 'git rev-list --objects "$base" >/dev/null'

SIZES = COMPARE + '{ git ls-tree -r -l -z "$base"; git ls-tree -r -l -z "$tree"; } >"$folder/sizes"'

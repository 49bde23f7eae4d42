"""The one command that a search runs in the sandbox, for whatever programs are there.

Files are listed by `rg`, else by git, else by `find`; searched by `rg`, else `grep -P`, else `grep -E` (BusyBox). All
three give the same files and lines: those that are no symbolic link, not hidden, not ignored by git (`.gitignore` at
every level and `.git/info/exclude`, but not a person's own settings), and hold no NUL. Names with a line break in them
are left out. One thing differs: a BusyBox that knows no locale counts bytes, so that `.` is half an `é` to it.

What is printed is for `tools.search_answers` to read:

* `F` or `D`: the root is a file or a directory; `E` and a reason where it is neither, or cannot be searched;
* a line `NAME \\x01 COUNT` for each file, sorted by the bytes of the names;
* `T FILES LINES LISTED_BY`: the totals, which a long list does not hold all of;
* with content, `NAME \\0 NUMBER : LINE` (`-` for context), or a line `\\x02 NAME` and `NUMBER : LINE` behind it.
"""

import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from tools.search_glob import PathFilter
from tools.search_pattern import SearchPattern

NAMES_LISTED = 10_000
CONTENT_LIMIT = 1_500_000
"""Bytes of found lines that are brought out of the sandbox."""
LINE_BYTES = 2_400
"""Bytes of a line that are brought out of the sandbox."""


@dataclass(frozen=True)
class SearchCommand:
    """What is to be searched; without a pattern files are listed."""

    root: str
    """An absolute path."""
    path_filter: PathFilter | None = None
    pattern: SearchPattern | None = None
    context: int | None = None
    """Lines around each that is found; None: only counts are wanted."""

    def text(self) -> str:
        """The command, for any POSIX shell."""
        root, pattern, chosen = PurePosixPath(self.root), self.pattern, self.path_filter
        values = {
            "root": str(root),
            "parent": str(root.parent),
            "name": root.name or "/",
            "include": chosen.expression if chosen and not chosen.excludes else "",
            "exclude": chosen.expression if chosen and chosen.excludes else "",
            "rust": pattern.rust if pattern else "",
            "perl": pattern.perl if pattern else "",
            "extended": (pattern.extended or "") if pattern else "",
            "ignore_case": "-i" if pattern and pattern.ignore_case else "",
            "context": "" if self.context is None else str(self.context),
            "names_listed": str(NAMES_LISTED),
            "content_limit": str(CONTENT_LIMIT),
            "line_bytes": str(LINE_BYTES),
        }
        assignments = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
        return f"{assignments}\n{_PRELUDE}{_LISTING}{_SEARCH if pattern else _ONLY_LISTING}"


_PRELUDE = r"""
LC_ALL=C; export LC_ALL
unset GREP_OPTIONS GREP_COLORS GREP_COLOR CDPATH RIPGREP_CONFIG_PATH
soh=$(printf '\001')
tab=$(printf '\t')
newline='
'
IFS=$newline
set -f

fail() { printf 'E%s\n' "$1"; exit 0; }
works() { "$@" </dev/null >/dev/null 2>&1; [ $? -le 1 ]; }
as_lines() { tr '\n\000' '\001\n' | grep -av "$soh"; }
as_arguments() { tr '\n' '\000'; }

for program in cat cut grep head sed sort tr uniq xargs; do
  command -v $program >/dev/null || fail "there is no program $program here"
done
if [ -d "$root" ]; then
  cd "$root" 2>/dev/null || fail 'it may not be entered'
  kind=D
elif [ -f "$root" ]; then
  cd "$parent" 2>/dev/null || fail 'its directory may not be entered'
  [ -r "$name" ] || fail 'it may not be read'
  kind=F
elif [ -e "$root" ] || [ -L "$root" ]; then
  fail 'it is neither a file nor a directory'
else
  fail 'there is no such file or directory'
fi
printf '%s\n' $kind
"""

# A nested repository, or a submodule, is one entry of its parent, and has rules of its own.
# Files that are both tracked and ignored come up twice and are left out: `rg` knows of no index, and ignores them.
_LISTING = r"""
git_list() {
  git -c safe.directory='*' -c core.excludesFile=/dev/null ls-files -z "$@" 2>/dev/null | as_lines
}
nested() {
  {
    git_list -o --exclude-standard | grep -a '/$'
    git_list -s | sed -n "s|^160000 [0-9a-f]* [0-9]*$tab\(.*\)|\1/|p"
  } | sort -u
}
list_repository() {
  {
    git_list -co --exclude-standard | sort -u
    git_list -ci --exclude-standard | sort -u
  } | sort | uniq -u | grep -av '/$' | sed "s|^|$1|"
  for inner in $(nested); do
    if [ -e "$inner.git" ] && ! [ -L "${inner%/}" ]; then
      (cd "$inner" 2>/dev/null && list_repository "$(printf '%s' "$1$inner" | sed 's/[\\&|]/\\&/g')")
    fi
  done
}
is_in_repository() { [ "$(git -c safe.directory='*' rev-parse --is-inside-work-tree 2>/dev/null)" = true ]; }
is_ignored() { git -c safe.directory='*' -c core.excludesFile=/dev/null check-ignore -q . 2>/dev/null; }
is_below_repository() {
  above=$PWD
  while :; do
    [ -e "$above/.git" ] && return 0
    [ -n "$above" ] || return 1
    above=${above%/*}
  done
}

if [ $kind = F ]; then
  lister=file
elif works rg --no-config --no-ignore-global --no-ignore-dot -q x -; then
  lister=rg
elif is_in_repository && ! is_ignored; then
  lister=git
elif is_below_repository && ! command -v git >/dev/null; then
  lister=blind
else
  lister=find
fi
list() {
  case $lister in
    file) printf '%s\n' "$name" ;;
    rg) rg --no-config --no-messages --no-ignore-global --no-ignore-dot --files -0 2>/dev/null | as_lines ;;
    git) list_repository '' ;;
    *) find . -name '.?*' -prune -o -type f -print0 2>/dev/null | as_lines | sed 's|^\./||' ;;
  esac
}
chosen() {
  if [ $kind = F ]; then list; return; fi
  list | grep -avE '(^|/)\.' |
    if [ -n "$include" ]; then LC_ALL=C.UTF-8 grep -aE -e "$include"; else cat; fi |
    if [ -n "$exclude" ]; then LC_ALL=C.UTF-8 grep -avE -e "$exclude"; else cat; fi
}
"""

_ONLY_LISTING = r"""
files=0
for file in $(chosen | sort); do
  if [ -f "$file" ] && { [ $kind = F ] || ! [ -L "$file" ]; }; then
    files=$((files + 1))
    [ $files -gt $names_listed ] || printf '%s%s1\n' "$file" "$soh"
  fi
done
printf 'T %s %s %s\n' $files $files $lister
"""

_SEARCH = r"""
if works rg --no-config -E none -C 0 -q $ignore_case -e "$rust" -; then
  engine=rg
elif works grep -aP $ignore_case -e "$perl"; then
  engine=perl
elif [ -n "$extended" ] && works grep -E $ignore_case -e "$extended"; then
  engine=extended
elif works grep -aP -e x; then
  fail 'too large'
else
  fail 'not extended'
fi

count() {
  if [ $engine = rg ]; then
    as_arguments | xargs -0 -r rg --no-config --no-messages --color never -E none -c -H $ignore_case -e "$rust" --
  else
    case $engine in
      perl) form=-P pattern=$perl ;;
      *) form=-E pattern=$extended ;;
    esac
    as_arguments | xargs -0 -r grep -sIl -e '' -- | as_arguments |
      LC_ALL=C.UTF-8 xargs -0 -r grep -saHc $form $ignore_case -e "$pattern" --
  fi 2>/dev/null | grep -av ':0$' | sed "s/:\([0-9]*\)\$/$soh\1/"
}
content() {
  case $engine in
    rg)
      as_arguments | xargs -0 -r rg --no-config --no-messages --color never -j1 -E none -a -0 -n -H --no-heading \
        -C "$context" $ignore_case -e "$rust" -- ;;
    perl)
      as_arguments | LC_ALL=C.UTF-8 xargs -0 -r grep -sanHZ -P -C "$context" $ignore_case -e "$perl" -- ;;
    *)
      for file in $(cat); do
        printf '\002%s\n' "$file"
        LC_ALL=C.UTF-8 grep -san -E -C "$context" $ignore_case -e "$extended" -- "$file"
      done ;;
  esac 2>/dev/null
}
names() { printf '%s\n' "$1" | sed -n "s/$soh[0-9]*\$//p"; }
# Those of the files that hold a NUL: `grep -z` sees one that is not at the end, `grep -I` one near the beginning.
# BusyBox has no `-I`: there each file is looked at, if there is a NUL in any.
binaries() {
  split=$(printf '%s\n' "$1" | as_arguments | xargs -0 -r grep -saHzc -e '' -- | sed -n '/:[01]$/!s/:[0-9]*$//p')
  whole=$(printf '%s\n' "$1" "$split" | sort | uniq -u | grep -av '^$')
  printf '%s\n' "$split"
  if [ $engine != extended ]; then
    { printf '%s\n' "$whole"; printf '%s\n' "$whole" | as_arguments | xargs -0 -r grep -sIl -e '' --; } | sort | uniq -u
  elif [ -n "$(printf '%s\n' "$whole" | as_arguments | xargs -0 -r cat -- | first_nul)" ]; then
    for file in $whole; do
      [ -z "$(first_nul <"$file")" ] || printf '%s\n' "$file"
    done
  fi
} 2>/dev/null
first_nul() { tr -cd '\000' | tr '\000' x | head -c 1; }

if [ $kind = F ] && [ -s "$name" ] && [ -n "$(binaries "$name" | grep -a .)" ]; then
  fail 'binary'
fi
found=$(chosen | count | sort)
binary=$(binaries "$(names "$found")")
kept() {
  files=0 lines=0
  for line in $found; do
    file=${line%"$soh"*}
    if [ $kind = D ]; then
      [ -f "$file" ] && ! [ -L "$file" ] || continue
      case $newline$binary$newline in *"$newline$file$newline"*) continue ;; esac
    fi
    files=$((files + 1)) lines=$((lines + ${line##*"$soh"}))
    [ $files -gt $names_listed ] || printf '%s\n' "$line"
  done
  printf 'T %s %s %s\n' $files $lines $lister
}
shown=$(kept)
printf '%s\n' "$shown"
if [ -n "$context" ]; then
  names "$shown" | content | cut -b "1-$line_bytes" | head -c "$content_limit"
fi
"""

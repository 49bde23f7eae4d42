# The service shell of a container, in plain sh: it reads and writes files for the harness and ends process trees,
# apart from the shell that the agent uses, and without a new process for every call. stdin: a nonce on one line, and
# on the next a call of one of these functions. stdout: a line "NONCE", what the function prints, then a line
# "NONCE WORD", where the word is `ok` or says what is wrong. Before the first answer: "ready UID GID".

read_file() { # path, limit (or -1)
  kind_of "$1"
  [ "$word" = file ] || return
  if [ ! -r "$1" ]; then word=denied; return; fi
  word=ok
  if [ "$2" -lt 0 ]; then cat -- "$1"; else head -c "$2" -- "$1"; fi || word=failed
}

write_file() { # path, size; the bytes follow on stdin
  target=$1 size=$2 opened=
  if may_be_written; then { opened=yes; head -c "$size"; } >"$target"; answer_for $?; else skip; fi
}

append_file() { # as write_file
  target=$1 size=$2 opened=
  if may_be_written; then { opened=yes; head -c "$size"; } >>"$target"; answer_for $?; else skip; fi
}

kind() { # path; `file`, `directory`, `missing` or `special`, and the path without links
  kind_of "$1"
  if [ -L "$1" ]; then readlink -f -- "$1"; else printf '%s\n' "$1"; fi
}

existing() { # path; the deepest folder on the way to it that is there
  nearest "$1"
  word=ok
  if blocked "$1"; then word="not a directory"; fi
  printf '%s\n' "$nearest"
}

kind_of() {
  if [ -d "$1" ]; then word=directory
  elif [ -f "$1" ]; then word=file
  elif [ -e "$1" ]; then word=special
  else word=missing; nearest "$1"; [ -x "$nearest" ] || word=denied
  fi
}

nearest() {
  nearest=$1
  while [ "$nearest" ] && [ ! -d "$nearest" ]; do nearest=${nearest%/*}; done
  nearest=${nearest:-/}
}

blocked() { # a folder that is not there; whether something else stands below `nearest` on the way to it
  below=${1#"${nearest%/}"}
  below=${below#/}
  below=${nearest%/}/${below%%/*}
  [ "$below" != "${nearest%/}/" ] && { [ -e "$below" ] || [ -L "$below" ]; }
}

may_be_written() { # a device may: it says itself what it takes
  kind_of "$target"
  case $word in
    directory | denied) return 1 ;;
    special) if [ -c "$target" ]; then return 0; else return 1; fi ;;
    file) return 0 ;;
  esac
  folder=${target%/*}
  if [ -d "${folder:-/}" ] || mkdir -p -- "$folder"; then return 0; fi
  nearest "$folder"
  if blocked "$folder"; then word="not a directory"
  elif [ ! -w "$nearest" ]; then word=denied
  else word=full
  fi
  return 1
}

skip() { head -c "$size" >/dev/null; }

answer_for() { # exit status
  if [ -z "$opened" ]; then
    nearest "$target"
    if [ -e "$target" ] && [ ! -w "$target" ] || [ ! -w "$nearest" ]; then word=denied; else word=full; fi
    skip
  elif [ "$1" = 0 ]; then
    word=ok
  else
    # What was not taken of the bytes would be read as the next requests.
    printf '\n%s full\n' "$nonce"
    exit
  fi
}

# From here to the end builtins alone, and no subshell: where an agent has used up its processes, a fork fails and
# would end this shell.

kill_tree() { # process id; it, its group, its session, and what descends from them
  begun= worker=
  end_tree "$1"
}

kill_command() { # process id, hundredths of a second of uptime; as kill_tree, and daemons that left the tree since then
  status_of "$1"
  worker=$parent
  # The shell of a command is forked before there is one, so its own beginning says nothing. Ticks, as in `stat`.
  begun=$2
  end_tree "$1"
}

end_foreground() { # process id of the shell on a terminal; it stands still from now on, what it waits for is ended
  begun= worker= shell=$1
  # First of all: it would go on with the next command that was typed.
  kill -STOP "$shell"
  status_of "$shell"
  front=$foreground
  for entry in /proc/[0-9]*; do
    top=${entry#/proc/}
    status_of "$top"
    if [ "$group" != "$front" ] || [ "$top" = "$shell" ]; then continue; fi
    # A shell within the shell has put it there, or that is the shell's own child.
    while [ "$parent" ] && [ "$parent" != "$shell" ] && [ "$parent" -gt 1 ]; do
      top=$parent
      status_of "$top"
    done
    end_tree "$top"
  done
  kill -STOP "$shell"
}

uptime() { # hundredths of a second
  read -r up _ </proc/uptime
  printf '%s\n' "${up%.*}${up#*.}"
}

end_tree() {
  if [ "$1" = "$$" ]; then return; fi
  root=$1 orphans=$1 rounds=0
  hold_all
  while [ "$orphans" ] && [ "$rounds" -lt 20 ]; do
    rounds=$((rounds + 1)) known=-1 tree=
    # Stopped first, until no more is found, so that nothing is started while the rest is being killed.
    while [ "$known" -lt "${#tree}" ]; do
      known=${#tree}
      find_orphans
      stop_tree $root $orphans
      if [ "$held" ]; then break; fi
    done
    kill -KILL $tree
    if [ "$held" ]; then break; fi
    find_orphans
  done
  if [ "$held" ]; then kill -CONT -1; fi
}

hold_all() { # where so much runs that this shell would hardly get a turn, everything stands still meanwhile
  held= running=0
  read -r _ _ _ running _ </proc/loadavg
  if [ "${running%%/*}" -gt 30 ]; then
    set -- /proc/[0-9]*
    if [ $# -gt 100 ]; then held=yes; kill -STOP -1; fi
  fi
}

stop_tree() { # process ids; `tree`: they, and what descends from them
  scan
  tree=
  while [ $# -gt 0 ]; do
    if [ -z "$held" ]; then kill -STOP "$@"; fi
    tree="$tree $*" next=
    for id do
      children_of "$id"
      next="$next $children"
    done
    set -- $next
  done
}

find_orphans() { # `orphans`: children of the first process that belong to the tree of `root`
  scan
  orphans=
  children_of 1
  for id in $children; do
    # Looked at once a request: reading the status costs a call of the system for each byte.
    eval "seen=\${other_$id-}"
    if [ "$seen" = "$nonce" ]; then continue; fi
    status_of "$id"
    if [ "$state" != Z ] && [ "$id" != "$worker" ] && [ "$id" != "$$" ] && {
      [ "$group" = "$root" ] || [ "$session" = "$root" ] || { [ "$begun" ] && [ "$start" -ge "$begun" ]; }
    }; then
      orphans="$orphans $id"
    else
      eval "other_$id=$nonce"
    fi
  done
}

children_of() { # process id; `children`
  if [ "$scanned" ]; then eval "children=\${below_$1-}"; return; fi
  children=
  for list in "/proc/$1/task"/*/children; do
    line=
    read -r line <"$list"
    children="$children $line"
  done
}

scan() { # for kernels that do not list children: every process below its parent
  if [ -e /proc/1/task/1/children ]; then scanned=; return; fi
  for parent in $scanned; do unset -v "below_$parent"; done
  scanned=1
  for id in /proc/[0-9]*; do
    status_of "${id#/proc/}"
    if [ "$parent" ]; then eval "below_$parent=\"\${below_$parent-} ${id#/proc/}\"" scanned="\"$scanned $parent\""; fi
  done
}

status_of() { # process id; `state`, `parent`, `group`, `session`, the group in the `foreground` of its terminal, and
  # `start` in ticks; empty where there is none
  line= state= parent= group= session= foreground= start=0
  while read -r part || [ "$part" ]; do line="$line $part"; done <"/proc/$1/stat"
  # The name, which may hold anything, stands in parentheses; the 20th field after it is the start.
  set -- ${line##*) }
  state=${1-} parent=${2-} group=${3-} session=${4-} foreground=${6-} start=${20-0}
}

line_break='
'
exec 2>/dev/null
while read -r line; do
  case $line in
    Uid:*) set -- $line; user=$3 ;;
    Gid:*) set -- $line; group=$3 ;;
  esac
done </proc/self/status
printf 'ready %s %s\n' "$user" "$group"
unset -v SERVICE_WORKER
while IFS= read -r nonce && IFS= read -r request; do
  word=ok
  printf '\n%s\n' "$nonce"
  eval "$request"
  printf '\n%s %s\n' "$nonce" "$word"
done

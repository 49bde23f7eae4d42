# The service shell of a container, in plain sh: it reads and writes files for the harness and ends process trees,
# apart from the shell that the agent uses, and without a new process for every call. It evaluates one line after
# the other from stdin; each calls one of these functions. An answer is one line, and the bytes that it announces.

read_file() { # path, limit (or -1)
  if [ -d "$1" ]; then echo directory; return; fi
  if [ ! -e "$1" ]; then echo missing; return; fi
  if [ ! -r "$1" ]; then echo denied; return; fi
  size=$(wc -c <"$1")
  if [ "$2" -ge 0 ] && [ "$size" -gt "$2" ]; then size=$2; fi
  echo "ok $((size))"
  # A file that shrinks meanwhile is filled up, since the size has been announced.
  { cat -- "$1"; cat /dev/zero; } 2>/dev/null | head -c "$size"
}

write_file() { # path, size; the bytes follow on stdin
  if [ -d "$1" ]; then head -c "$2" >/dev/null; echo directory; return; fi
  if ! mkdir -p -- "$(dirname -- "$1")" 2>/dev/null; then head -c "$2" >/dev/null; echo "not a directory"; return; fi
  if ! : 2>/dev/null >>"$1"; then head -c "$2" >/dev/null; echo denied; return; fi
  if head -c "$2" >"$1" && [ "$(($(wc -c <"$1")))" -eq "$2" ]; then echo ok; else echo full; fi
}

descendants() { # process id: it, and everything that descends from it or is in its process group
  table=
  for stat in /proc/[0-9]*/stat; do
    { read -r line <"$stat"; } 2>/dev/null || continue
    rest=${line##*) }
    parent=${rest#* }
    group=${parent#* }
    table="$table ${line%% *}:${parent%% *}:${group%% *}"
  done
  found=" $1 "
  grown=yes
  while [ "$grown" ]; do
    grown=
    for entry in $table; do
      id=${entry%%:*} link=${entry#*:}
      case $found in *" $id "*) continue ;; esac
      case $found in *" ${link%%:*} "*) found="$found$id " grown=yes; continue ;; esac
      if [ "${link##*:}" = "$1" ]; then found="$found$id " grown=yes; fi
    done
  done
  echo "$found"
}

kill_tree() { # process id
  tree=$(descendants "$1")
  # Stopped first, so that nothing forks while the rest is being killed.
  kill -STOP $tree 2>/dev/null
  kill -KILL $(descendants "$1") $tree 2>/dev/null
  echo ok
}

while IFS= read -r request; do eval "$request"; done

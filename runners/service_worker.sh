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
  # What a full disk does not take must still be read: it would be taken for the next requests.
  if head -c "$2" | { cat >"$1" || { cat >/dev/null; false; }; } 2>/dev/null && [ "$(($(wc -c <"$1")))" -eq "$2" ]
  then echo ok; else echo full; fi
}

# From here to the end builtins alone, and no subshell: where an agent has used up its processes, a fork fails and
# would end this shell.
process_table() { # `table`: a word for each process: id:parent:group:start
  table=
  for stat in /proc/[0-9]*/stat; do
    { read -r line <"$stat"; } 2>/dev/null || continue
    id=${line%% *}
    # The name, which may hold anything, stands in parentheses; the 20th field after it is the start, in ticks.
    set -- ${line##*) }
    table="$table $id:$2:$3:${20}"
  done
}

descendants() { # process id; `found`: it, its group, what descends from them, and what left the tree as a daemon
  process_table
  begun=
  for entry in $table; do [ "${entry%%:*}" = "$1" ] && begun=${entry##*:}; done
  found=" $1 "
  for entry in $table; do
    id=${entry%%:*} start=${entry##*:} parent=${entry#*:}
    group=${parent#*:} parent=${parent%%:*} group=${group%%:*}
    if [ "$group" = "$1" ] || { [ "$begun" ] && [ "$parent" = 1 ] && [ "$start" -ge "$begun" ]; }; then
      found="$found$id "
    fi
  done
  grown=yes
  while [ "$grown" ]; do
    grown=
    for entry in $table; do
      id=${entry%%:*} parent=${entry#*:}
      case $found in *" $id "*) continue ;; esac
      case $found in *" ${parent%%:*} "*) found="$found$id " grown=yes ;; esac
    done
  done
}

kill_tree() { # process id
  descendants "$1"
  tree=$found
  # Stopped first, so that nothing forks while the rest is being killed.
  kill -STOP $tree 2>/dev/null
  descendants "$1"
  kill -KILL $found $tree 2>/dev/null
  echo ok
}

while IFS= read -r request; do eval "$request"; done

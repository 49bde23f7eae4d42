# The persistent shell's worker, the same on this machine and in a container. It never runs a command itself:
# each one runs in a forked subshell that starts from the saved state and saves its own when it ends. So `exit`,
# `exec`, `set -e`, an endless loop or a kill end the command, never the shell.
#
# stdin: a command, a NUL, a nonce, a NUL, over and over. stdout: what the command prints, then a line break and
# a line "NONCE STATUS". stderr: the process id of each command's subshell, a line each. The nonce stays unread
# until the command has ended, so that no command can print it.
#
# Arguments: the folder for state; the directory to start in; a file to source first, or nothing.
# Works in bash 3.2 and later. Every name of its own starts with `_worker_`, and is never part of the state.

unset -v SHELL_WORKER
_worker_folder=$1 _worker_directory=$2 _worker_profile=$3
exec 3<&0 4>&1 5>&2 </dev/null >/dev/null 2>/dev/null
shopt -s expand_aliases

# Builtins alone, since a fork costs more than all of this. The two files take turns, and `current` names the
# newest whole one, so that a kill in the middle loses nothing older.
_worker_volatile='@(_worker_*|_|BASH|BASH_[!E]*|BASHOPTS|BASHPID|SHELLOPTS|EUID|UID|PPID|GROUPS|DIRSTACK|FUNCNAME'
_worker_volatile+='|PIPESTATUS|LINENO|RANDOM|SRANDOM|SECONDS|EPOCH*|HISTCMD|COMP_WORDBREAKS|PS[0-9])'
_worker_save='{ set +euxvfnC; trap - DEBUG ERR RETURN; shopt -s extglob
  compgen -v -X "$_worker_volatile" >"$_worker_folder/names"
  IFS=$'\''\n'\'' read -r -d "" -a _worker_names <"$_worker_folder/names"
  {
    declare -p "${_worker_names[@]}"; declare -f; declare -F; alias -p; umask -p
    printf "builtin cd -- %q && OLDPWD=%q\n" "$PWD" "$OLDPWD"
  } >"$_worker_folder/$_worker_next" &&
    printf "%s\n" "$_worker_next" >"$_worker_folder/current"; _worker_saved=yes; } 2>/dev/null'

# A worker that takes over from one that was killed finds its state here.
_worker_next=initial
[ -f "$_worker_folder/initial" ] || (
  cd "$_worker_directory"
  if [ -n "$_worker_profile" ] && [ -f "$_worker_profile" ]; then . "$_worker_profile"; fi
  eval "$_worker_save"
)
_worker_initial=$(<"$_worker_folder/initial")
# What a command unsets must not come back from the worker's own environment.
for _worker_name in $(compgen -e); do unset -v "$_worker_name"; done
for _worker_name in $(compgen -A function); do unset -f "$_worker_name"; done

# A signal that a command sends to `$$` is for the command.
trap 'kill -TERM -- "-$_worker_child"' TERM INT HUP QUIT USR1 USR2

# The subshell of the next command is forked, and has sourced the state, before that command is there: what it costs
# falls into the time in which the model thinks. `begun` tells a command that ended from a subshell that was killed
# while it waited for one.
set -m
while :; do
  _worker_current=
  IFS= read -r _worker_current <"$_worker_folder/current"
  if [ "$_worker_current" = a ]; then _worker_next=b; else _worker_next=a; fi
  : >"$_worker_folder/begun"
  (
    set +m
    trap - TERM INT HUP QUIT USR1 USR2
    exec >&4 2>&1 4>&-
    if [ -n "$_worker_current" ] && [ -f "$_worker_folder/$_worker_current" ]; then
      . "$_worker_folder/$_worker_current" >/dev/null 2>&1 || printf 'The working directory is gone.\n'
    else
      eval "$_worker_initial" >/dev/null 2>&1
      command -p mkdir -p -m 700 "$_worker_folder"
    fi
    IFS= read -r -d '' -u 3 _worker_command || exit 1
    printf 'yes' >"$_worker_folder/begun"
    printf '%s\n' "${BASHPID:-$(sh -c 'echo "$PPID"')}" >&5  # bash 3.2 has no BASHPID
    exec 3<&- 5>&-
    trap '[ "$_worker_saved" ] || eval "$_worker_save"' EXIT
    eval "$_worker_command"
    _worker_status=$?
    eval "$_worker_save"
    exit "$_worker_status"
  ) &
  _worker_child=$!
  wait "$_worker_child"
  _worker_status=$?
  while kill -0 "$_worker_child"; do wait "$_worker_child"; _worker_status=$?; done
  if [ ! -s "$_worker_folder/begun" ]; then
    if [ "$_worker_status" -gt 128 ]; then continue; else exit; fi
  fi
  IFS= read -r -d '' -u 3 _worker_nonce
  printf '\n%s %s\n' "$_worker_nonce" "$_worker_status" >&4
done

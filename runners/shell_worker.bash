# The persistent shell's worker, the same on this machine and in a container; `shell_worker.sh` is its counterpart
# where there is no bash. It never runs a command itself: each one runs in a forked subshell that starts from the
# saved state and saves its own when it ends. So `exit`, `exec`, `set -e`, an endless loop or a kill end the command,
# never the shell.
#
# stdin: requests. A line "NONCE TOKEN ORDER", then TOKEN, the command, and TOKEN, each ended by a NUL. ORDER is
#   `keep`, or `fresh` for a shell without what was set before. Other lines in front of a request are passed over.
# stdout: what the command prints, then a line break and a line "NONCE STATUS WORD". WORD is `saved`; `unsaved` when the
#   state is that of before; `refused` when the command could not be begun, STATUS being how its subshell ended.
# stderr: a line "ready KIND" first; then, as each command begins, a line break and a line "TOKEN PID".
#   A subshell ends with 125 when it cannot load the state, with 124 when it does not get the whole command.
# The nonce is read here, before the command begins and after its subshell was forked, so that no command can print
# it. The token stands on both sides of the command, so that one which somebody else read from is not run.
#
# It sets `_worker_loop`, which who starts it evaluates. Arguments: the folder for state; the directory to start in; a
# file to source first, or nothing.
# Works in bash 3.2 and later. Every name of its own starts with `_worker_`, and is never part of the state.

_worker_folder=$1 _worker_directory=$2 _worker_profile=$3
readonly _worker_folder
set --
exec 3<&0 4>&1 5>&2 </dev/null >/dev/null 2>/dev/null 9<&-
shopt -s expand_aliases

# From here on it is `builtin` before each word that a command may have taken for a function of its own. One named
# `builtin` keeps the state from being saved, which is told; one named `exec` is not saved.
# What does not stay: ours, the prompts, and what is bash's own. Nested, since each alternative is tried for each name.
_worker_volatile='@(_|_worker_*|BASH*|COMP_WORDBREAKS|DIRSTACK|E@(UID|POCH*)|FUNCNAME|GROUPS|HISTCMD|LINENO'
_worker_volatile+='|P@(PID|IPESTATUS|S[0-9]|OSIXLY_CORRECT)|RANDOM|S@(ECONDS|HELLOPTS|RANDOM)|UID)'

_worker_plain() { # file: whatever was made of it, it is one that can be written
  [[ -f $1 && ! -L $1 && -w $1 ]] && builtin return 0 # by itself, in a trap, it would return what was before the trap
  builtin command -p rm -rf -- "$1"
  if [[ -L $_worker_folder || ! -d $_worker_folder || ! -w $_worker_folder ]]; then
    builtin command -p rm -rf -- "$_worker_folder"
    builtin command -p mkdir -p -m 700 -- "$_worker_folder"
  fi
  builtin printf '' >>"$1"
}

# Builtins alone, since a fork costs more than all of this. The two files take turns, and `current` names the newest
# whole one, so that a kill in the middle loses nothing older.
_worker_save() { # name of the file, its stamp
  builtin shopt -s extglob
  builtin unset -f exec _worker_plain _worker_save _worker_end
  builtin compgen -v -X "$_worker_volatile" >"$_worker_folder/$1"
  builtin mapfile -t _worker_names <"$_worker_folder/$1" ||
    IFS=$'\n' builtin read -r -d '' -a _worker_names <"$_worker_folder/$1"
  {
    # Attributes of functions, but not the names of those without: sourced, each of them would be printed.
    # Aliases and POSIX mode come last: they would change the other lines, and `set -o posix` (it says `y`) is gone.
    builtin printf '#%s\n' "$2" && builtin declare -p "${_worker_names[@]}" &&
      builtin declare -f && builtin declare -Fx && builtin declare -Fr && builtin umask -p &&
      builtin printf 'builtin cd -- %q && OLDPWD=%q || _worker_gone=yes\n' "$PWD" "$OLDPWD" &&
      { [[ ! ${BASH_ENV+set} ]] || builtin declare -p BASH_ENV; } && builtin alias -p &&
      { [[ ${POSIXLY_CORRECT-y} == y ]] || builtin printf 'export POSIXLY_CORRECT=%q\n' "$POSIXLY_CORRECT"; } &&
      builtin printf '_worker_whole=yes\n'
  } >"$_worker_folder/$1"
}

_worker_end() { # status: the last thing that a command's subshell does
  _worker_ended=yes
  builtin set +euxvfnC
  builtin trap - DEBUG ERR RETURN
  builtin trap '' XFSZ
  _worker_plain "$_worker_folder/$_worker_file"
  _worker_plain "$_worker_folder/current"
  _worker_save "$_worker_file" "$_worker_token" &&
    builtin printf '%s %s\n' "$_worker_file" "$_worker_token" >"$_worker_folder/current"
  builtin return "$1"
}

# Through this pipe a subshell is told that its command is there. It has an end for each side, so that a subshell
# whose worker was killed does not wait for ever.
if command exec 6<> <(:); then
  _worker_pipe=/dev/fd/6
else
  _worker_pipe=$_worker_folder/pipe
  rm -rf "$_worker_pipe"
  mkfifo "$_worker_pipe"
  exec 6<>"$_worker_pipe"
fi
exec 7>"$_worker_pipe" 8<"$_worker_pipe" 6>&-
[ -p "$_worker_folder/pipe" ] && rm "$_worker_folder/pipe"

# A worker that takes over from one that was killed finds its state.
for _worker_name in a b current initial; do _worker_plain "$_worker_folder/$_worker_name"; done
_worker_initial=$(<"$_worker_folder/initial")
if [[ $_worker_initial != '#initial'*_worker_whole=yes ]]; then
  (
    trap '_worker_save initial initial' EXIT
    cd "$_worker_directory"
    if [ -n "$_worker_profile" ] && [ -f "$_worker_profile" ]; then . "$_worker_profile"; fi
  )
  _worker_initial=$(<"$_worker_folder/initial")
fi
IFS=' ' read -r _worker_current _worker_stamp <"$_worker_folder/current"
# What a command unsets must not come back from the worker's own environment.
for _worker_name in $(compgen -e); do unset -v "$_worker_name"; done
for _worker_name in $(compgen -A function); do
  case $_worker_name in _worker_*) ;; *) unset -f "$_worker_name" ;; esac
done

# A signal that a command sends to `$$` is for the command.
trap 'kill -TERM -- "-$_worker_child"' TERM INT HUP QUIT USR1 USR2
printf '\nready bash\n' >&5

# The subshell of the next command is forked, and has sourced the state, before that command is there: what it costs
# falls into the time in which the model thinks.
_worker_nonce= _worker_ended= _worker_whole= _worker_gone=

_worker_next() { # before the fork
  if [[ $_worker_current == a ]]; then _worker_file=b; else _worker_file=a; fi
  # What somebody else wrote there must not be taken for the word that a command has come.
  while read -t 0 -u 8 && read -r -t 1 -u 8 _worker_line; do :; done
  set -m
}

_worker_prepare() { # in the subshell, before it sources the state
  set +m
  trap - TERM INT HUP QUIT USR1 USR2
  trap 'builtin exit 125' EXIT
  exec 7>&- 1>&4 2>&4 4>&-
  unset -v _worker_nonce _worker_order
  { read -r _worker_pid _worker_line </proc/self/stat || _worker_pid=$(/bin/sh -c 'echo "$PPID"'); } 2>/dev/null
  shopt -s extglob # functions may hold such patterns, which could not be read otherwise
  [[ $_worker_current ]] || return 0
  _worker_line=
  [[ -f $_worker_folder/$_worker_current ]] && read -r _worker_line <"$_worker_folder/$_worker_current"
  [[ $_worker_line == "#$_worker_stamp" ]] || exit
}

_worker_begin() { # with the state, before the command
  [[ $_worker_whole ]] || builtin exit
  builtin trap - EXIT
  builtin shopt -u extglob
  _worker_take || builtin exit 124
  # In one write, and so in one frame: it ends the only line of what is printed.
  builtin printf %s $'\n'"$_worker_token $_worker_pid"$'\n' >&5
  exec 3<&- 5>&- 8<&-
  [[ ! $_worker_gone ]] || builtin printf 'The working directory is gone; this is %s.\n' "$PWD"
  builtin trap '{ [[ $_worker_ended ]] || _worker_end "$?"; } 2>/dev/null' EXIT
}

_worker_take() { # TMOUT would end the wait; IFS would change what is read, had it a name
  builtin local REPLY
  builtin unset -f _worker_next _worker_prepare _worker_begin _worker_take _worker_serve
  builtin unset -v _worker_{child,current,directory,initial,line,loop,name,order,pipe,profile,saved,stamp,status}
  builtin unset -v _worker_{told,tries}
  _worker_wait=()
  [[ $TMOUT ]] && _worker_wait=(-t 99999999)
  builtin read -r -u 8 "${_worker_wait[@]}" || builtin return 1
  _worker_token=$REPLY
  builtin read -r -d '' -u 3 "${_worker_wait[@]}" && [[ $REPLY == "$_worker_token" ]] || builtin return 1
  builtin read -r -d '' -u 3 "${_worker_wait[@]}" || builtin return 1
  _worker_command=$REPLY
  builtin read -r -d '' -u 3 "${_worker_wait[@]}" && [[ $REPLY == "$_worker_token" ]]
}

_worker_serve() { # after the fork: take a request, unless there is one, have it run, and say how it ended
  # No more of job control than a process group for signals: it would describe each job on stderr.
  set +m
  while [[ ! $_worker_nonce ]]; do
    if ! IFS=' ' read -r -u 3 _worker_nonce _worker_token _worker_order; then kill -KILL "$_worker_child"; exit; fi
    case $_worker_order in keep | fresh) ;; *) _worker_nonce= ;; esac
    _worker_tries=0
  done
  if [[ $_worker_order == fresh ]]; then
    _worker_order= _worker_current=
    kill -KILL "$_worker_child"
    wait "$_worker_child"
    return
  fi
  _worker_saved=unsaved _worker_line= _worker_told=
  if kill -0 "$_worker_child"; then printf '%s\n' "$_worker_token" >&7; _worker_told=yes; fi
  wait "$_worker_child"
  _worker_status=$?
  # More than 128 also when a signal interrupted the wait.
  while [[ $_worker_status -gt 128 ]] && kill -0 "$_worker_child"; do wait "$_worker_child"; _worker_status=$?; done
  [[ -f $_worker_folder/current ]] && IFS=' ' read -r _worker_name _worker_line <"$_worker_folder/current"
  if [[ $_worker_line == "$_worker_token" ]]; then
    _worker_saved=saved _worker_current=$_worker_file _worker_stamp=$_worker_token
  elif [[ ! $_worker_told ]] || read -t 0 -u 8; then
    # It was killed while it waited, or while it loaded the state; twice in a row, and that is not to be had.
    if [[ $((_worker_tries += 1)) == 1 ]]; then return; fi
    _worker_saved=refused
  fi
  printf %s $'\n'"$_worker_nonce $_worker_status $_worker_saved"$'\n' >&4
  _worker_nonce=
}

# On one line, by which bash counts those of a command: who starts this text evaluates it, on the first line of all.
_worker_loop='while :; do _worker_next; ( _worker_prepare; '
_worker_loop+='if [[ $_worker_current ]]; then . "$_worker_folder/$_worker_current"; else eval "$_worker_initial"; fi '
_worker_loop+='>/dev/null 2>&1; _worker_begin; builtin eval "$_worker_command"; { _worker_end "$?"; } 2>/dev/null; ) & '
_worker_loop+='_worker_child=$!; _worker_serve; done'

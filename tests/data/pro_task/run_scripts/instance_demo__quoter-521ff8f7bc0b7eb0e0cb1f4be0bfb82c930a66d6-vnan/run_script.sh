#!/bin/bash
set -e

run_all_tests() {
  python -m pytest -v tests
}

run_selected_tests() {
  python -m pytest -v "$@"
}

if [ $# -eq 0 ]; then
  run_all_tests
  exit $?
fi

IFS=',' read -r -a files <<< "$1"
run_selected_tests "${files[@]}"

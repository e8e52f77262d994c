#!/usr/bin/env bash
# Everything that `npm test` means: build, types, rules of the source, the floors' own tests, then real programs on a mounted pool.
#   - Exit 0 only if all of it passed; a failed part does not keep the next from being told about.
#   - Every test has a timeout. Pools and mounts lie in one temporary folder; whatever is left of them in the end is taken away.
# usage: test/run.sh [unit|mounted]...    (default: both)
set -euo pipefail
cd "$(dirname "$0")/.."

parts=("$@"); [[ ${#parts[@]} == 0 ]] && parts=(unit mounted)
bash test/install.sh

OGEE_TEST_ROOT=$(mktemp -d -t ogee-test.XXXXXXXX)
export OGEE_TEST_ROOT
chmod 755 "$OGEE_TEST_ROOT"
clean_up() {
  local at pid
  # Daemons are known by the temporary folder in their command line or under their open files.
  for pid in /proc/[0-9]*; do
    pid=${pid#/proc/}
    [[ $pid == "$$" || $pid == "${BASHPID}" ]] && continue
    if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$OGEE_TEST_ROOT"; then kill -9 "$pid" 2>/dev/null || true; fi
  done
  while read -r _ at _; do
    [[ $at == "$OGEE_TEST_ROOT"/* ]] && umount -l "$at" 2>/dev/null || true
  done </proc/self/mounts
  rm -rf --one-file-system "$OGEE_TEST_ROOT"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

failed=()
part() { # name, command...
  local name=$1; shift
  echo "== $name"
  "$@" || failed+=("$name")
}
node_tests() { # seconds for all, milliseconds for one file, files at once, files...
  timeout -k 10 "$1" node --import tsx --test --test-reporter=spec --test-timeout="$2" --test-concurrency="$3" "${@:4}"
}

part build npm run --silent build
part types npx --no-install tsc -p tsconfig.test.json
for which in "${parts[@]}"; do
  case $which in
    unit)
      mapfile -t files < <(find test -name '*.test.ts' -not -path 'test/programs/*' -not -path 'test/mounted/*' | sort)
      part 'unit tests' node_tests 540 150000 2 "${files[@]}" ;;
    mounted)
      [[ -c /dev/fuse ]] || { echo 'test/run.sh: no /dev/fuse here: load the kernel module fuse, or run only `test/run.sh unit`.' >&2; exit 1; }
      mapfile -t files < <(find test/mounted test/programs -name '*.test.ts' 2>/dev/null | sort)
      part 'mounted tests' node_tests 840 300000 2 "${files[@]}" ;;
    *) echo "usage: test/run.sh [unit|mounted]..." >&2; exit 2 ;;
  esac
done
if [[ ${#failed[@]} != 0 ]]; then
  echo "test/run.sh: failed: ${failed[*]}" >&2
  exit 1
fi

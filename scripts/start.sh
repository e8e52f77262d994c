#!/usr/bin/env bash
# `npm start`: a pool to play with, mounted. Pool: ~/.ogee/play. Mount point: ~/ogee (OGEE_POOL and OGEE_DIR name others).
#   - On a terminal it opens a shell in the mounted folder, and unmounts when that ends. The pool stays.
#   - Elsewhere it mounts, says what to do next, and leaves it mounted.
set -euo pipefail
cd "$(dirname "$0")/.."
ogee=$PWD/bin/ogee
pool=${OGEE_POOL:-$HOME/.ogee/play}
dir=${OGEE_DIR:-$HOME/ogee}

[[ -e dist/cli/main.js ]] || npm run --silent build
if [[ ! -c /dev/fuse ]]; then
  echo 'There is no /dev/fuse: load the module (modprobe fuse), or start the container with --device /dev/fuse --cap-add SYS_ADMIN.' >&2
  exit 1
fi
if [[ $(id -u) != 0 ]] && ! command -v fusermount3 >/dev/null; then
  echo 'A plain user needs fusermount3 to mount: install it (sudo apt-get install fuse3), or run npm start as root.' >&2
  exit 1
fi

mkdir -p "$(dirname "$pool")" "$dir"
if "$ogee" status "$pool" 2>/dev/null | grep -qF "mounted at  $dir "; then
  echo "It is mounted already."
else
  "$ogee" mount "$pool" "$dir" --nbd
fi
"$ogee" volume info "$pool" disk >/dev/null 2>&1 || "$ogee" volume create "$pool" disk --size 10G
echo "The volume disk is at nbd+unix:///disk?socket=$pool/nbd.sock for any NBD client."
if [[ -t 0 && -t 1 && ${CI:-} == '' ]]; then
  echo "This shell is in $dir, a file system of its own: what you do here lands in the pool $pool."
  echo "Leave it with exit; that unmounts. \`ogee\` is in PATH."
  (cd "$dir" && PATH="${ogee%/*}:$PATH" "${SHELL:-/bin/bash}") || true
  "$ogee" umount "$dir" && echo "Unmounted; everything is safe in $pool. npm start mounts it again."
else
  df -h "$dir"
  echo "The pool $pool is mounted at $dir. Look at it with: bin/ogee status. Unmount it with: bin/ogee umount $dir"
fi

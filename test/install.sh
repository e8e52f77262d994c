#!/usr/bin/env bash
# Installs, with apt-get, what the tests and the benchmark need and this machine lacks.
#   - Idempotent; when everything is there it asks nobody and takes a fraction of a second.
#   - Decides by the commands and headers that the tests call, not by package names.
#   - Without root (or apt-get) it says what is missing and fails.
set -euo pipefail

# What the tests use, and the Debian package that brings it.
needs=(
  fusermount3:fuse3              # mounts for plain users
  fio:fio
  getfattr:attr
  getfacl:acl
  sqlite3:sqlite3
  stress-ng:stress-ng
  dbench:dbench
  rsync:rsync
  strace:strace
  make:make
  gcc:gcc
  git:git
  python3:python3
  pkg-config:pkg-config
  flock:util-linux
  ps:procps
  runuser:util-linux
  nbdinfo:libnbd-bin             # NBD clients, and servers to measure against
  nbdsh:libnbd-bin
  /usr/lib/python3/dist-packages/nbd.py:python3-libnbd
  nbdkit:nbdkit
  qemu-img:qemu-utils
  openssl:openssl                # certificates
  mkfs.ext4:e2fsprogs
  mkfs.xfs:xfsprogs
  losetup:mount
  /usr/include/fuse3/fuse_lowlevel.h:libfuse3-dev
  /usr/share/doc/libfuse3-dev/examples:libfuse3-dev
  /usr/include/stdio.h:libc6-dev
)

missing=()
for need in "${needs[@]}"; do
  what=${need%%:*} package=${need##*:}
  if [[ $what == /* ]]; then [[ -e $what ]] || missing+=("$package")
  else command -v "$what" >/dev/null || missing+=("$package"); fi
done
# PostgreSQL's server programs are in a versioned folder, never in PATH.
compgen -G '/usr/lib/postgresql/*/bin/pgbench' >/dev/null || missing+=(postgresql)
compgen -G '/usr/share/postgresql/*/extension/amcheck.control' >/dev/null || missing+=(postgresql-contrib)

[[ ${#missing[@]} == 0 ]] && exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

if [[ $(id -u) != 0 ]]; then
  echo "test/install.sh: missing: ${missing[*]}. Run as root: apt-get install ${missing[*]}" >&2; exit 1
fi
if ! command -v apt-get >/dev/null; then
  echo "test/install.sh: missing: ${missing[*]}, and there is no apt-get here. Install what brings them." >&2; exit 1
fi

echo "test/install.sh: installing ${missing[*]}"
report=$(mktemp)
trap 'rm -f "$report"' EXIT
export DEBIAN_FRONTEND=noninteractive
# PostgreSQL must not start a server of its own here: the tests start theirs.
mkdir -p /etc/postgresql-common
[[ -e /etc/postgresql-common/createcluster.conf ]] || echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
quietly() {
  "$@" >"$report" 2>&1 && return
  echo "test/install.sh: failed: $*" >&2; tail -n 20 "$report" >&2; exit 1
}
quietly apt-get -qq -o DPkg::Lock::Timeout=300 update
# The documentation is wanted: passthrough_ll.c lies in /usr/share/doc, which small images leave out.
quietly apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 install "${missing[@]}"
if [[ ! -e /usr/share/doc/libfuse3-dev/examples ]]; then
  quietly apt-get -qq -y --no-install-recommends --reinstall -o DPkg::Options::=--path-include='/usr/share/doc/libfuse3-dev/*' install libfuse3-dev
fi

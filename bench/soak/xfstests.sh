#!/usr/bin/env bash
# xfstests on two pools: bench/soak/xfstests.sh XFSTESTS WORK [CHECK ARGUMENTS]   (as root; CHECK ARGUMENTS default to: -g generic/quick)
#   XFSTESTS  its sources, built (`make`) outside the checkout; they are told about Ogee once, by the changes below
#   WORK      an empty folder on a disk: pools, mounts and results
#   - Scratch pools are made anew by `ogee format`, of the size that a test asks for; `ogee fsck` looks at a pool after every test.
#   - mount(8) must know Ogee: `ogee install` first.
set -euo pipefail
ogee=$(cd "$(dirname "$0")/../.." && pwd)/bin/ogee
xfstests=$(cd "$1" && pwd); mkdir -p "$2"; work=$(cd "$2" && pwd); shift 2
[[ $# != 0 ]] || set -- -g generic/quick

if ! grep -q _ogee_mkfs "$xfstests/common/rc"; then
  # The type that df shows; unmounting by folder; making pools; checking them; names are bytes.
  OGEE=$ogee perl -0pi -e '
    my $check = "\t$ENV{OGEE} fsck %s >\$tmp.fsck 2>&1 || { cat \$tmp.fsck >>\$seqres.full; _log_err \"_check_ogee: %s is inconsistent\"; return 1; }\n";
    s/(-e .s\/fuse\.ceph-fuse\/ceph-fuse\/.)/$1 -e "s\/fuse.ogee\/fuse\/"/;
    s/\t\t_unmount \$TEST_DEV\n/\t\t_unmount \$TEST_DIR\n/;
    s/(\t\*\)\n)\t\t_unmount \$SCRATCH_DEV\n/$1\t\t_unmount \$SCRATCH_MNT\n/;
    s/(\tnfs\*\|afs\|cifs\|ceph\|overlay\|glusterfs\|pvfs2\|9p\|fuse\|virtiofs\)\n\t\t# unable to re-create)/\tfuse)\n\t\t_ogee_mkfs 8G\n\t\treturn \$?\n\t\t;;\n$1/;
    s/(_try_scratch_mkfs_sized\(\)\n\{\n)/$1\t_ogee_mkfs \$1\n\treturn \$?\n/;
    s/(\n_scratch_mkfs\(\)\n)/\n_ogee_mkfs()\n{\n\tumount \$SCRATCH_MNT 2>\/dev\/null\n\t[ -e \$SCRATCH_DEV\/lock ] && flock -w 20 \$SCRATCH_DEV\/lock true\n\trm -rf \$SCRATCH_DEV\n\t$ENV{OGEE} format --size \$1 \$SCRATCH_DEV >\/dev\/null\n}\n$1/;
    my @devices = ("\$TEST_DEV", "\$device");
    s/\t# no way to check consistency for fuse\n/my $d = shift @devices; my $c = $check; $c =~ s{%s}{$d}g; $c/eg;
    s/(ext2\|ext3\|ext4\|f2fs\|xfs\|btrfs)\)\n\t\t# do nothing/$1|fuse)\n\t\t# do nothing/;
  ' "$xfstests/common/rc"
fi

mkdir -p "$work"/{test,scratch,results}
[[ -e $work/test.pool ]] || "$ogee" format "$work/test.pool" --size 8G
[[ -e $work/scratch.pool ]] || "$ogee" format "$work/scratch.pool" --size 8G
cat >"$work/local.config" <<END
export FSTYP=fuse FUSE_SUBTYP=.ogee
export TEST_DEV=$work/test.pool TEST_DIR=$work/test
export SCRATCH_DEV=$work/scratch.pool SCRATCH_MNT=$work/scratch
END
cd "$xfstests"
HOST_OPTIONS=$work/local.config RESULT_BASE=$work/results exec ./check "$@"

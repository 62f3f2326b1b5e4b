#!/bin/sh
# build.sh ARCH OUT [--modules DIR] [--test SCRIPT]
#
# The smallest root that boots manx, as an archive that a kernel takes for its initramfs:
# init, a static busybox, build/ARCH/manx, config/manx.conf. OUT is compressed if its name
# ends in .gz; the same files make the same bytes.
#
#   --modules DIR     a kernel's /lib/modules/VERSION: takes what initramfs/modules names
#   --test SCRIPT     becomes /test, which init runs instead of a shell
#
# MANX=FILE and BUSYBOX=FILE in the environment are taken instead of build/ARCH/manx and
# what fetch.sh put into build/kernels/ARCH. To try one on the console:
#   qemu-system-x86_64 -accel tcg -m 256 -nographic -nic user,model=virtio -initrd OUT \
#     -kernel build/kernels/x86_64/vmlinuz -append "console=ttyS0 quiet ip=10.0.2.15/24,10.0.2.2"
set -eu
here=$(cd "$(dirname "$0")" && pwd) top=$(cd "$(dirname "$0")/.." && pwd)
die() { echo "build.sh: $*" >&2; exit 1; }

arch=$1 out=$2 modules='' test=''; shift 2
while [ $# -gt 0 ]; do
	case $1 in
	--modules) modules=$2; shift 2 ;;
	--test)    test=$2; shift 2 ;;
	*) die "no option $1" ;;
	esac
done
manx=${MANX:-$top/build/$arch/manx} busybox=${BUSYBOX:-$top/build/kernels/$arch/busybox}

mkdir -p "$(dirname "$out")"
tmp=$(mktemp -d "$out.XXXXXX"); trap 'rm -rf "$tmp"' EXIT
root=$tmp/root
umask 022
for d in bin dev etc lib/modules proc run sys tmp var/lib; do mkdir -p "$root/$d"; done
install -m 755 "$here/init" "$root/init"
install -m 755 "$manx" "$root/bin/manx"
install -m 755 "$busybox" "$root/bin/busybox"
install -m 644 "$top/config/manx.conf" "$root/etc/manx.conf"
[ -z "$test" ] || install -m 755 "$test" "$root/test"

# Files of the wanted modules, each after those that it depends on: a line of modules.dep
# names all of them, the last one first.
load_order() {
	awk -v want="$(sed 's/#.*//' "$here/modules" | tr -s '\n' ' ')" '
	{ file = $1; sub(/:$/, "", file); name = file; sub(/.*\//, "", name); sub(/\.ko.*/, "", name); gsub(/-/, "_", name)
	  of[name] = file; needs[file] = $0; sub(/^[^:]*: */, "", needs[file]) }
	function take(f) { if (!(f in taken)) { taken[f] = 1; print f } }
	END { n = split(want, w, " ")
	  for (i = 1; i <= n; i++) if (w[i] in of) {
		for (k = split(needs[of[w[i]]], d, " "); k > 0; k--) take(d[k])
		take(of[w[i]]) } }' "$1/modules.dep"
}

# Their names are numbers first, so that the shell lists them in that order. Newer
# distributions compress them, which busybox cannot undo in time.
n=100
[ -z "$modules" ] || load_order "$modules" > "$tmp/order"
[ -z "$modules" ] || while read -r file; do
	name=${file##*/}; to=$root/lib/modules/$n-${name%%.ko*}.ko n=$((n + 1))
	case $file in
	*.xz)  xz -dc "$modules/$file" > "$to" ;;
	*.zst) zstd -qdc "$modules/$file" > "$to" ;;
	*)     cp "$modules/$file" "$to"; chmod 644 "$to" ;;
	esac
done < "$tmp/order"

find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible -R 0:0) > "$tmp/cpio"
case $out in
*.gz) gzip -9nc "$tmp/cpio" > "$tmp/gz"; mv "$tmp/gz" "$out" ;;
*)    mv "$tmp/cpio" "$out" ;;
esac

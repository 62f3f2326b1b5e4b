#!/bin/sh
# given.sh FOLDER ARCH TRIPLET DIR   Makes of a sysroot that somebody else made (cross/SYSROOT.md says
# which) the tree that the build expects, in DIR.  Copies, since the build strips the archives.
set -eu
from=$1 arch=$2 triplet=$3 dest=$4
musl=$(echo "$triplet" | sed 's/gnu/musl/')
die() { printf '%s\n' "$@" >&2; exit 1; }
[ -d "$from" ] || die "SYSROOT=$from: no such folder"

# find_in "FOLDER..." FILE HINT   Prints where it is.
find_in() {
	for d in $1; do
		[ -f "$from/$d/$2" ] && { echo "$from/$d/$2"; return; }
	done
	echo "SYSROOT=$from lacks $2 ($3); looked in $(echo "$1" | sed 's/ /, /g')" >&2
	return 1
}
lib() { find_in "usr/lib lib usr/lib/$musl usr/lib/$triplet" "$1" "$2"; }
header() { find_in "usr/include include usr/include/$musl" "$1" "$2"; }

# All that lacks is named, not only the first.
missing=0
while read -r kind file hint; do
	$kind "$file" "$hint" >/dev/null || missing=1
done <<'FILES'
lib rcrt1.o musl's development files
lib crti.o musl's development files
lib crtn.o musl's development files
lib libc.a musl, static
lib libmnl.a libmnl, static
lib libbearssl.a BearSSL, static
lib libyaml.a libyaml, static
header stdio.h musl's development files
header linux/rtnetlink.h the kernel's headers
header libmnl/libmnl.h libmnl's development files
header bearssl.h BearSSL's development files
header yaml.h libyaml's development files
header jsmn.h jsmn, one header
FILES
[ $missing = 0 ] || exit 1

# A tree for another machine would fail much later, and less clearly.
machine() { LC_ALL=C readelf -h "$1" | sed -n 's/^ *Machine: *//p'; }
crt=$(lib rcrt1.o '')
own=$(echo 'int x;' | "$triplet-gcc" -x c -c -o "$dest.o" - && machine "$dest.o"; rm -f "$dest.o")
[ "$(machine "$crt")" = "$own" ] || die "SYSROOT=$from is for $(machine "$crt"), ARCH=$arch is $own"

tmp=$(mktemp -d "$dest.XXXXXX"); trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/usr/include/$musl" "$tmp/usr/lib/$musl" "$tmp/usr/lib/$triplet"
for d in usr/include include; do
	if [ -d "$from/$d" ]; then cp -RL "$from/$d/." "$tmp/usr/include/$musl"; fi
done
for f in rcrt1.o crti.o crtn.o libc.a; do cp "$(lib $f '')" "$tmp/usr/lib/$musl"; done
for f in libmnl.a libbearssl.a libyaml.a; do cp "$(lib $f '')" "$tmp/usr/lib/$triplet"; done
chmod 755 "$tmp"; chmod -R u+w "$tmp"
rm -rf "$dest"; mv "$tmp" "$dest"

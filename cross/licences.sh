#!/bin/sh
# licences.sh ARCH SYSROOT DIR   Puts into DIR what a copy of the program has to carry:
# the notices of the libraries inside it, as their packages have them, the LGPL, and
# which versions they are.
set -eu
arch=$1 sysroot=$2 dir=$3
top=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d "$dir.XXXXXX"); trap 'rm -rf "$tmp"' EXIT

cp "$top/LICENSE" "$tmp/manx.txt"
[ -f /usr/share/common-licenses/LGPL-2.1 ] || { echo "licences.sh: this machine has no /usr/share/common-licenses/LGPL-2.1" >&2; exit 1; }
cp /usr/share/common-licenses/LGPL-2.1 "$tmp/LGPL-2.1.txt"
{
	echo "manx is licensed under the Apache License 2.0 (manx.txt). Linked into the program are, from Debian:"
	echo
	awk -v a="$arch" '$1 == a && $2 !~ /^linux-/ { print $2, $3 }' "$top/cross/pins" |
	while read -r package version; do
		name=${package%-dev}
		cp "$sysroot/usr/share/doc/$package/copyright" "$tmp/$name.txt"
		printf '  %-12s %-18s %s.txt\n' "$name" "$version" "$name"
	done
	echo
	echo "libmnl is under the GNU Lesser General Public License 2.1 or later (LGPL-2.1.txt). Its source is in"
	echo "Debian's source package of that version; \"make\" in the source tree of manx links the program anew,"
	echo "with whatever libmnl.a lies in build/<arch>/sysroot."
} >"$tmp/NOTICE"
chmod 755 "$tmp"; chmod 644 "$tmp"/*
rm -rf "$dir"; mv "$tmp" "$dir"

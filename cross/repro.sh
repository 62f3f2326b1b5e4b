#!/bin/sh
# repro.sh ARCH   Builds the tree in two folders, of different names and depths, one of them reached by
# a link, at different times, in different surroundings; what comes out must be the same to the byte.
set -eu
arch=$1
cd "$(dirname "$0")/.."
dir=$PWD/build/repro/$arch
rm -rf "$dir"

# build FOLDER VARIABLE=VALUE...   A copy of the sources, and of nothing that was built before.
build() {
	tree=$1; shift
	mkdir -p "$tree/build" build/debs
	cp -R Makefile src cross config "$tree"
	ln -s "$PWD/build/debs" "$tree/build/debs"
	(cd "$tree" && env "$@" ${MAKE:-make} --no-print-directory ARCH="$arch" "build/$arch/manx") >"$tree.log" 2>&1 ||
		{ cat "$tree.log"; exit 1; }
}
umask 022
build "$dir/one" LC_ALL=C TZ=UTC MAKEFLAGS=
umask 077
mkdir -p "$dir/another/longer path"
ln -s "another/longer path" "$dir/link"
build "$dir/link" LC_ALL=C.UTF-8 TZ=Asia/Kathmandu HOME=/nonexistent MAKEFLAGS=-j2

for f in manx manx.debug; do
	cmp "$dir/one/build/$arch/$f" "$dir/link/build/$arch/$f"
	(cd "$dir/one/build/$arch" && sha256sum $f) | sed "s,  ,  $arch/,"
done
rm -rf "$dir"

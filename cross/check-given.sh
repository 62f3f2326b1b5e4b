#!/bin/sh
# check-given.sh ARCH TRIPLET SYSROOT   "make SYSROOT=folder": a tree laid out as Alpine's and Buildroot's
# are builds the program, and one that lacks something says what.
set -eu
arch=$1 triplet=$2 sysroot=$3
cd "$(dirname "$0")/.."
dir="$PWD/build/a given"; musl=$(echo "$triplet" | sed 's/gnu/musl/')
bad() { echo "given sysroot: $*" >&2; exit 1; }
rm -rf "$dir"; mkdir -p "$dir/tree/build" "$dir/root/usr/lib" "$dir/root/usr/include"
trap 'rm -rf "$dir"' EXIT

cp -R Makefile src cross config "$dir/tree"
cp -R "$sysroot/usr/include/$musl/." "$sysroot/usr/$triplet/include/." "$dir/root/usr/include"
for f in "$sysroot"/usr/include/*; do
	[ "${f##*/}" = "$musl" ] || cp -R "$f" "$dir/root/usr/include"
done
cp "$sysroot/usr/lib/$musl"/*.[oa] "$sysroot/usr/lib/$triplet"/*.a "$dir/root/usr/lib"
chmod -R a-w "$dir/root"

build() { ${MAKE:-make} --no-print-directory -C "$dir/tree" ARCH="$arch" SYSROOT="$dir/root" "$@" >"$dir/log" 2>&1; }
build "build/$arch/manx" || { cat "$dir/log"; bad "does not build"; }
# But for the name of its symbols' file, whose digest knows where the headers were.
bare() { "$triplet-objcopy" --remove-section=.gnu_debuglink "$1/build/$arch/manx" "$2"; }
bare "$dir/tree" "$dir/one"
bare . "$dir/other"
cmp "$dir/one" "$dir/other" || bad "of the same libraries another program"
build licences && bad "claims to know the licences"

chmod -R u+w "$dir/root"
rm "$dir/root/usr/lib/libyaml.a" "$dir/root/usr/include/jsmn.h"
touch "$dir/tree/cross/given.sh"
build "build/$arch/manx" && bad "builds without libyaml.a"
for file in libyaml.a jsmn.h; do
	grep -q "SYSROOT=$dir/root lacks $file" "$dir/log" || { cat "$dir/log"; bad "does not say that $file is missing"; }
done
[ "$(grep -c lacks "$dir/log")" = 2 ] || { cat "$dir/log"; bad "says that more is missing"; }
echo "given sysroot: as it should be"

#!/bin/sh
# fetch.sh ARCH DIR   What a guest takes from Debian, unpacked into DIR and installed nowhere:
#   DIR/busybox   the static one
#   DIR/vmlinuz   the cloud kernel (x86_64 and aarch64), DIR/modules its modules
#
# The newest that this machine's apt sources have for ARCH, by way of an apt root of
# our own: signatures are checked as ever, the machine's lists and architectures stay
# as they are, and nobody needs to be root.
set -eu
die() { echo "fetch.sh: $*" >&2; exit 1; }
arch=$1 dest=$2 kernel=
case $arch in
x86_64)  deb=amd64 kernel=linux-image-cloud-amd64 ;;
aarch64) deb=arm64 kernel=linux-image-cloud-arm64 ;;
armv7)   deb=armhf ;;
armv6)   deb=armel ;;
riscv64) deb=riscv64 ;;
*) die "no architecture '$arch'" ;;
esac
PATH=$PATH:/usr/sbin:/sbin

mkdir -p "$(dirname "$dest")"
tmp=$(mktemp -d "$dest.XXXXXX"); trap 'rm -rf "$tmp"' EXIT
tmp=$(cd "$tmp" && pwd)
mkdir -p "$tmp/apt/lists/partial" "$tmp/apt/cache/archives/partial" "$tmp/root"
: > "$tmp/apt/status"
cat > "$tmp/apt/conf" <<-C
	APT::Architecture "$deb"; APT::Architectures { "$deb"; }; APT::Sandbox::User "";
	Dir::State "$tmp/apt"; Dir::State::lists "$tmp/apt/lists"; Dir::State::status "$tmp/apt/status"; Dir::Cache "$tmp/apt/cache";
	Acquire::Languages "none"; Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false"; Acquire::Retries "3";
C
export APT_CONFIG="$tmp/apt/conf"
# A source that fails is somebody else's; what is missing in the end says so below.
apt-get -qq update >"$tmp/log" 2>&1 || :

# The kernel's package of today is what the one without a version depends on.
packages=busybox-static
if [ "$kernel" ]; then
	image=$(apt-cache depends "$kernel" 2>>"$tmp/log" | awk '/Depends: linux-image/ { print $2; exit }')
	packages="$packages ${image:-$kernel}"
fi
(cd "$tmp" && apt-get -qq download $packages >>log 2>&1) || { cat "$tmp/log" >&2; die "no $packages for $deb"; }
for f in "$tmp"/*.deb; do dpkg -x "$f" "$tmp/root"; done

# Debian 13 has both below usr.
busybox=$(find "$tmp/root" -path '*bin/busybox' | head -n 1)
mkdir "$tmp/out"; mv "$busybox" "$tmp/out/busybox"
if [ "$kernel" ]; then
	mv "$tmp"/root/boot/vmlinuz-* "$tmp/out/vmlinuz"
	tree=$(find "$tmp/root" -type d -path '*lib/modules/*' -prune | head -n 1)
	mkdir -p "$tmp/dep/lib/modules"
	mv "$tree" "$tmp/dep/lib/modules/"
	depmod -b "$tmp/dep" "${tree##*/}"
	mv "$tmp/dep/lib/modules/${tree##*/}" "$tmp/out/modules"
fi
rm -rf "$dest"; mv "$tmp/out" "$dest"

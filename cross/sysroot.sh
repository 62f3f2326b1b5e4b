#!/bin/sh
# sysroot.sh ARCH DIR   Unpacks the packages that cross/pins names for ARCH into DIR.
# sysroot.sh --pins ARCH   Prints the pin lines of ARCH as Debian's signed index has them now;
# SUITE=stable asks another suite than trixie, for when the mirror has half replaced that.
#
# sysroot.sh --archives   Prints where this machine's apt gets Debian from.
#
# A .deb comes from the pool of the mirror that this machine's apt uses, and what
# proves it is its SHA-256 here: an index that a mirror has half replaced stops
# nobody. Works on any Debian, as root or not, and changes nothing outside the tree.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
pins=$top/cross/pins cache=$top/build/debs
helper=/usr/lib/apt/apt-helper
die() { printf '%s\n' "$@" >&2; exit 1; }

# The archives that apt knows, each once; a list of mirrors stands for its members.
bases() {
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' | sort -u |
	while read -r uri; do
		case $uri in
		mirror+file:*) f=${uri#mirror+file:}; f=/${f#"${f%%[!/]*}"}; sed -n 's/^\([^# \t][^ \t]*\).*/\1/p' "${f%/}" ;;
		*) echo "$uri" ;;
		esac
	done | sed 's,/*$,,'
}

debian_arch() {
	case $1 in
	x86_64) echo amd64 ;; aarch64) echo arm64 ;; armv7) echo armhf ;; armv6) echo armel ;; riscv64) echo riscv64 ;;
	*) die "sysroot.sh: no architecture '$1'; there are x86_64 aarch64 armv7 armv6 riscv64" ;;
	esac
}

# Pin lines of today, through an apt root of our own: nothing of the machine's
# lists and architectures changes, and apt checks the signature as ever.
current_pins() {
	arch=$1 deb=$(debian_arch "$1")
	root=$(mktemp -d); trap 'rm -rf "$root"' EXIT
	mkdir -p "$root/lists/partial" "$root/cache/archives/partial"; : > "$root/status"
	cat > "$root/apt.conf" <<-C
		APT::Architecture "$deb"; APT::Architectures { "$deb"; }; APT::Sandbox::User "";
		Dir::State "$root"; Dir::State::lists "$root/lists"; Dir::State::status "$root/status"; Dir::Cache "$root/cache";
		Dir::Etc::sourcelist "$root/sources.list"; Dir::Etc::sourceparts "/dev/null"; Acquire::Languages "none";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
	C
	export APT_CONFIG="$root/apt.conf"
	for base in $BASES; do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $base ${SUITE:-trixie} main" > "$root/sources.list"
		apt-get -qq update >/dev/null 2>"$root/err" && break
	done
	for p in musl-dev libmnl-dev libbearssl-dev libyaml-dev libjsmn-dev "linux-libc-dev-$deb-cross"; do
		apt-cache show --no-all-versions "$p" 2>/dev/null | awk -v arch="$arch" '
			{ f[$1] = $2 }
			END { if (!("Filename:" in f)) exit 1
				dir = f["Filename:"]; sub("^pool/main/", "", dir); sub("/[^/]*$", "", dir)
				printf "%-8s %-28s %-18s %-6s %-27s %s\n", arch, f["Package:"], f["Version:"], f["Architecture:"], dir, f["SHA256:"] }' ||
			die "sysroot.sh: no index of $deb with $p could be read:" "$(cat "$root/err")"
	done
}

# fetch FILE SUM PATH: downloads what has the digest SUM at PATH in one of the pools.
fetch() {
	for base in $BASES; do
		"$helper" -o APT::Sandbox::User= download-file "$base/pool/main/$3" "$1" "SHA256:$2" >"$1.log" 2>&1 &&
			echo "$2  $1" | sha256sum --quiet -c - && return
	done
	return 1
}

BASES=$(bases)
[ -n "$BASES" ] || die "sysroot.sh: apt names no archive with a component main"
case $1 in
--pins) current_pins "$2"; exit ;;
--archives) echo "$BASES"; exit ;;
esac

arch=$1 dest=$2; debian_arch "$arch" >/dev/null
mkdir -p "$cache" "$(dirname "$dest")"
tmp=$(mktemp -d "$dest.XXXXXX"); trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/root"
awk -v a="$arch" '$1 == a' "$pins" > "$tmp/pins"
while read -r _ name version deb dir sum; do
	# a file name has no epoch
	file=${name}_${version#*:}_$deb.deb
	if ! echo "$sum  $cache/$file" | sha256sum --status -c - 2>/dev/null; then
		if ! fetch "$tmp/$file" "$sum" "$dir/$file"; then
			cat "$tmp/$file.log" >&2
			echo "sysroot.sh: $name $version ($deb) is not to be had. Lines for cross/pins, as the signed index has them now:" >&2
			rm -rf "$tmp"; current_pins "$arch" >&2; exit 1
		fi
		mv "$tmp/$file" "$cache/$file"
	fi
	dpkg -x "$cache/$file" "$tmp/root"
done < "$tmp/pins"
chmod 755 "$tmp/root"
rm -rf "$dest"; mv "$tmp/root" "$dest"

#!/bin/sh
# size.sh show|check|record ARCH FILE   What the program weighs beside its line in cross/sizes:
# check fails when it has grown by more than 2 %, record writes the line anew.
set -eu
verb=$1 arch=$2 file=$3
table=$(dirname "$0")/sizes
gcc=$(${CC:-gcc} -dumpversion); gcc=${gcc%%.*}
bytes=$(stat -c %s "$file")
memory=$(LC_ALL=C ${SIZE:-size} -B "$file" | awk 'NR == 2 { print $2 + $3 }')

record() {
	tmp=$(mktemp "$table.XXXXXX"); trap 'rm -f "$tmp"' EXIT
	{
		sed -n '/^#/p' "$table"
		{
			sed '/^#/d' "$table" | awk -v a="$arch" -v g="$gcc" '!($1 == a && $2 == g)'
			printf '%-8s %3s %9s %9s\n' "$arch" "$gcc" "$bytes" "$memory"
		} | sort -k1,1 -k2,2n
	} >"$tmp"
	chmod 644 "$tmp"; mv "$tmp" "$table"
}

compare() {
	awk -v arch="$arch" -v gcc="$gcc" -v bytes="$bytes" -v memory="$memory" -v check="$verb" '
	function grown(what, now, then) {
		printf "%s, gcc %s, %s: %d bytes, %d recorded (%+.1f %%)\n", arch, gcc, what, now, then, 100 * (now - then) / then
		if (now > then * 1.02) over = 1
	}
	$1 == arch && $2 == gcc { grown("file", bytes, $3); grown("data+bss", memory, $4); known = 1 }
	END {
		if (!known) printf "%s, gcc %s: %d bytes, %d data+bss; none recorded\n", arch, gcc, bytes, memory
		if (over && check == "check") print "size: grown by more than 2 %; if that is meant: make size-record"
		exit over && check == "check"
	}' "$table"
}

case $verb in
record) record ;;
show | check) compare ;;
*) echo "size.sh: no verb $verb" >&2; exit 2 ;;
esac

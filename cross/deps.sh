#!/bin/sh
# deps.sh PACKAGE...   Makes sure that Debian packages are there: root installs
# what is missing, anyone else is told the line that does.
set -eu
missing() {
	{ dpkg-query -Wf '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || :; } |
	awk -v want="$*" '$2 == "installed" { have[$1] } END { n = split(want, w, " "); for (i = 1; i <= n; i++) if (!(w[i] in have)) printf " %s", w[i] }'
}
need=$(missing "$@")
[ -n "$need" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	printf 'Missing packages. As root:\n  apt-get install --no-install-recommends%s\n' "$need" >&2
	exit 1
fi
exec 9< "$0"; flock 9	# make -j asks twice
echo "Installing$need" >&2
log=$(mktemp); trap 'rm -f "$log"' EXIT
install() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
		-o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install $need </dev/null >"$log" 2>&1
}
# The first try fails where the package lists are absent or out of date.
install || { apt-get -qq update >&2; install; } || { cat "$log" >&2; exit 1; }

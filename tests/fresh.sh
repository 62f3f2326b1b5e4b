#!/bin/bash
# fresh.sh RELEASE   Does what the README says to somebody with a new machine: its two commands, copied
# out of it, in a tree of Debian RELEASE with the minimal system, git, make and sudo.  What else they
# need they must install themselves.  The tree comes from the mirror that this machine's apt uses.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "fresh.sh: as root" >&2; exit 1; }

# Mounts and processes of its own: however it ends, the kernel unmounts and kills what is left.
[ "$1" = --inside ] || exec unshare --mount --propagation private --pid --fork --kill-child "$PWD/tests/fresh.sh" --inside "$@"
release=$2
root=$PWD/build/fresh/$release

commands=$(sed -n '/^## Try it/,/^## /s/^    //p' README.md | head -2)
[ "$(echo "$commands" | wc -l)" = 2 ] || { echo "fresh.sh: the README has no two commands under \"Try it\"" >&2; exit 1; }

leave() {
	rc=$?
	umount -R "$root" 2>/dev/null || :
	rm -rf --one-file-system "$root"
	[ $rc = 0 ] && echo "$release: as it should be" || echo "$release: failed" >&2
}
trap leave EXIT
trap 'exit 143' TERM INT HUP

bootstrap() {
	local mirror
	for mirror in $(cross/sysroot.sh --archives); do
		rm -rf --one-file-system "$root"
		mkdir -p "$root"
		debootstrap --variant=minbase --include=git,make,sudo --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
			"$release" "$root" "$mirror" >"$root.log" 2>&1 && return
	done
	tail -20 "$root.log" >&2
	return 1
}

echo "$release: a new tree"
bootstrap
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
# As the host's apt gets out.
apt-config dump | grep -E '^Acquire::[a-z]+::Proxy' >"$root/etc/apt/apt.conf.d/90proxy" || :
mkdir "$root/root/manx"
git ls-files -z | tar -c --null -T - | tar -x -C "$root/root/manx"

before=$(chroot "$root" dpkg-query -Wf '${Package}\n' | wc -l)
while read -r command; do
	echo "$release: $command"
	chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb \
		bash -c "cd /root/manx && $command" </dev/null 2>&1 | grep -v '^CC '
done <<<"$commands"
echo "$release: $(($(chroot "$root" dpkg-query -Wf '${Package}\n' | wc -l) - before)) packages were installed"

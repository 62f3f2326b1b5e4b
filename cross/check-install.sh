#!/bin/sh
# check-install.sh   What "make install" puts where, and whether it is true: the manual
# against the program, the unit and the scripts against their readers.
set -u
cd "$(dirname "$0")/.." || exit 1
top=$(mktemp -d); trap 'rm -rf "$top"' EXIT
root="$top/a root"; mkdir "$root"
bad=0 make=${MAKE:-make}
say() { echo "install: $*" >&2; bad=1; }
install() { $make --no-print-directory install DESTDIR="$root" "$@" >"$root.log" 2>&1 || { cat "$root.log"; say "make install $*"; }; rm -f "$root.log"; }

install
while read -r mode file; do
	have=$(stat -c '%a %u:%g' "$root$file" 2>/dev/null)
	[ "$have" = "$mode $(id -u):$(id -g)" ] || say "$file: want mode $mode, have ${have:-nothing}"
	[ -s "$root$file" ] || say "$file: empty"
done <<'FILES'
755 /usr/bin/manx
644 /usr/share/man/man1/manx.1
644 /usr/share/man/man5/manx.conf.5
644 /usr/lib/systemd/system/manx.service
755 /usr/share/doc/manx/manx.run
755 /usr/share/doc/manx/manx.openrc
644 /usr/share/doc/manx/licences/NOTICE
644 /usr/share/doc/manx/licences/LGPL-2.1.txt
644 /usr/share/doc/manx/licences/manx.txt
644 /usr/share/doc/manx/licences/musl.txt
644 /usr/share/doc/manx/licences/libmnl.txt
644 /usr/share/doc/manx/licences/libbearssl.txt
644 /usr/share/doc/manx/licences/libjsmn.txt
644 /usr/share/doc/manx/licences/libyaml.txt
644 /etc/manx.conf
FILES
count=$(find "$root" -type f | wc -l)
[ "$count" = 15 ] || say "$count files instead of 15"
cmp -s build/manx "$root/usr/bin/manx" || say "not the program that was built"
cmp -s config/manx.conf "$root/etc/manx.conf" || say "not the configuration of this tree"
grep -q 'GNU LESSER GENERAL PUBLIC LICENSE' "$root/usr/share/doc/manx/licences/LGPL-2.1.txt" || say "LGPL-2.1.txt is not the LGPL"
for l in musl libbearssl libjsmn libyaml; do
	grep -q 'Permission is hereby granted, free of charge' "$root/usr/share/doc/manx/licences/$l.txt" || say "$l.txt has no MIT notice"
done

# An administrator's file stays, wherever the rest goes.
echo '# mine' >"$root/etc/manx.conf"
install PREFIX=/usr/local
[ "$(cat "$root/etc/manx.conf")" = '# mine' ] || say "/etc/manx.conf was written over"
for f in lib/systemd/system/manx.service share/doc/manx/manx.run share/doc/manx/manx.openrc; do
	grep -q /usr/local/bin/manx "$root/usr/local/$f" || say "$f does not name the program where it is"
	grep -q /usr/bin/manx "$root/usr/local/$f" && say "$f names a program that is elsewhere"
done

# The manual: sound, and its verbs and the program's are the same.
lint=$(mandoc -Tlint config/man/* 2>/dev/null | grep -v 'referenced manual not found')
[ -z "$lint" ] || say "$lint"
verbs() { build/manx help | sed -n 's/^  \([a-z]*\( [a-z][a-z]*\)\{0,1\}\) .*/\1/p' | sort -u; }
manual() { sed -n '/^The verbs are:/,/^\.Ss CNI/s/^\.It Cm \([a-z]*\( [a-z][a-z]*\)\{0,1\}\).*/\1/p' config/man/manx.1 | sort -u; }
[ "$(verbs)" = "$(manual)" ] || say "verbs of manx help: $(verbs | paste -sd,); of manx.1: $(manual | paste -sd,)"
absent=$(sed -n '/^Not in this version:/,/^\.[^C]/s/^\.Cm \([a-z]*\).*/\1/p' config/man/manx.1)
for v in $absent; do
	build/manx "$v" >/dev/null 2>&1
	[ $? = 2 ] || say "manx.1 says that $v is not in this version"
done

# The unit and the scripts.
for f in config/manx.run config/manx.openrc; do
	sh -n $f || say "$f"
done
sed "s,/usr/bin/manx,$PWD/build/manx," config/manx.service >"$root/manx.service"
# Of the units beside it, this machine's, it may say what it likes.
verify=$(systemd-analyze verify --man=no "$root/manx.service" 2>&1 | grep manx)
[ -z "$verify" ] || say "$verify"
# It would have said something.
sed 's/^ExecStart=.*/ExecStart=relative/' "$root/manx.service" >"$root/manx-bad.service"
systemd-analyze verify --man=no "$root/manx-bad.service" 2>&1 | grep -q manx-bad || say "systemd-analyze finds nothing wrong in a wrong unit"
[ $bad = 0 ] && echo "install: as it should be"
exit $bad

#!/bin/sh
# assert-static-pie.sh FILE   Fails unless FILE is a hardened static-pie program.
# A compiler that quietly links something else (musl-gcc -static-pie makes a
# dynamic program) does not get past here.
set -u
bad=0
say() { echo "$1: $2" >&2; bad=1; }
h=$(LC_ALL=C readelf -hW "$1") && l=$(LC_ALL=C readelf -lW "$1") && d=$(LC_ALL=C readelf -dW "$1") || exit 1
has() { echo "$1" | grep -qE "$2"; }

has "$h" 'Type: +DYN'              || say "$1" "not position independent"
has "$l" ' INTERP '                && say "$1" "has an interpreter"
has "$l" ' GNU_RELRO '             || say "$1" "no RELRO segment"
has "$l" ' LOAD .* RWE '           && say "$1" "has a segment that is writable and executable"
has "$l" ' GNU_STACK .* RWE? '     || say "$1" "no GNU_STACK"
has "$l" ' GNU_STACK .* RWE '      && say "$1" "executable stack"
has "$d" '\(NEEDED\)'              && say "$1" "needs shared libraries"
has "$d" '\(TEXTREL\)|FLAGS.*TEXTREL' && say "$1" "relocations in its text"
has "$d" '\(FLAGS_1\).* PIE'       || say "$1" "not marked PIE"
has "$d" '\(BIND_NOW\)|\(FLAGS_1\).* NOW' || say "$1" "not bound at start"
exit $bad

#!/bin/sh
# run-units.sh PROGRAM...   Runs unit tests, one line each; what a failed one said follows it.
# RUN='qemu-arm-static -cpu arm1176' runs them by that.
passed=0 failed=0
for p in "$@"; do
	log=$p.log
	${RUN-} "$p" >"$log" 2>&1; rc=$?
	ok=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | tail -1)
	bad=$(sed -n 's/^ *\([0-9]*\) FAILED TEST.*/\1/p' "$log" | tail -1)
	[ $rc = 0 ] || [ "${bad:-0}" -gt 0 ] || bad=1	# it died
	printf '%-6s %s: %d passed%s\n' UNIT "${p##*/}" "${ok:-0}" "${bad:+, $bad failed}"
	[ $rc = 0 ] || cat "$log"
	passed=$((passed + ${ok:-0})) failed=$((failed + ${bad:-0}))
done
echo "unit tests: $passed passed, $failed failed"
[ $failed = 0 ]

#!/bin/sh
# run-units.sh PROGRAM...   Runs unit tests, one line each; what a failed one said follows it.
# With CI in the environment a skipped test that tests/skips does not name has failed.
# RUN='qemu-arm-static -cpu arm1176' runs them by that.
passed=0 failed=0 skips=$(dirname "$0")/../tests/skips
for p in "$@"; do
	log=$p.log
	${RUN-} "$p" >"$log" 2>&1; rc=$?
	ok=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | tail -1)
	bad=$(sed -n 's/^ *\([0-9]*\) FAILED TEST.*/\1/p' "$log" | tail -1)
	[ $rc = 0 ] || [ "${bad:-0}" -gt 0 ] || bad=1	# it died
	for skipped in $(sed -n 's/^\[  SKIPPED \] \([a-z][a-z0-9_]*\)$/\1/p' "$log" | sort -u); do
		[ -z "${CI-}" ] || grep -q "^tests/unit/${p##*/}.c::$skipped " "$skips" ||
			{ echo "${p##*/}: $skipped was skipped, and tests/skips has no line for it"; bad=$((${bad:-0} + 1)); }
	done
	printf '%-6s %s: %d passed%s\n' UNIT "${p##*/}" "${ok:-0}" "${bad:+, $bad failed}"
	[ $rc = 0 ] || cat "$log"
	passed=$((passed + ${ok:-0})) failed=$((failed + ${bad:-0}))
done
echo "unit tests: $passed passed, $failed failed"
[ $failed = 0 ]

#!/bin/sh
# analyze.sh INCLUDES   What gcc's analyser, clang-tidy (.clang-tidy) and cppcheck say of the sources,
# but for what tests/analyze.allow names; any other finding fails.  A job on each core, and nicely.
set -u
cd "$(dirname "$0")/.." || exit 1
includes=$1 out=build/analyze
mkdir -p "$out"
flags='-std=gnu11 -D_GNU_SOURCE -Isrc'
sources=$(git diff --name-only --diff-filter=d 7895088 HEAD -- src | grep '\.c$' | xargs)

# each TOOL COMMAND   The command for every source, as $1; what it says of one stays together.
each() {
	rm -rf "$out/$1"; mkdir "$out/$1"
	printf '%s\n' $sources | xargs -P "$(nproc)" -n 1 sh -c "$2 >$out/$1/\$(echo \$1 | tr / _) 2>&1" sh ||
		echo "$1: error: it fails"
	cat "$out/$1"/*
}
run_gcc() { each gcc "nice gcc $flags -O2 -fanalyzer $includes -c -o /dev/null \$1"; }
run_tidy() { each clang-tidy "nice clang-tidy --quiet \$1 -- $flags $includes"; }
run_cppcheck() {
	# A macro of libmnl's that stands like a statement, and has to be known.
	echo '#define mnl_attr_for_each_nested(a, nest) for ((a) = (void *)(nest); (a); (a) = 0)' >"$out/macros.h"
	nice cppcheck --quiet --enable=warning,style,performance,portability --std=c11 -D__linux__ -D_GNU_SOURCE \
		--include="$out/macros.h" -Isrc --template='{file}:{line}:{column}: warning: {message} [{id}]' src 2>&1
}

# Lines "FILE:LINE:COL: warning: text [check,...]" of a tool to findings that nothing allows.
judge() {
	awk -v tool="$1" -v top="$PWD/" '
	FNR == NR { if ($1 == tool) allowed[$2, $3]; next }
	/^[^ ]*:[0-9]+:[0-9]+: (warning|error): .*\[[^ ]*\]$/ {
		sub("^" top, "")
		file = $1; sub(/:.*/, "", file)
		check = $NF; gsub(/[][]/, "", check); sub(/,.*/, "", check); sub(/=$/, "", check)
		if ((file, check) in allowed || ("*", check) in allowed) { n++; next }
		if (!seen[$0]++) { print; bad++ }
		next
	}
	/ (fatal )?error: / { print; bad++ }
	END { printf "%s: %d findings, %d allowed\n", tool, bad, n; exit bad > 0 }' tests/analyze.allow "$out/$1.log"
}

bad=0
run_gcc >"$out/gcc.log";           judge gcc        || bad=1
run_tidy >"$out/clang-tidy.log";   judge clang-tidy || bad=1
run_cppcheck >"$out/cppcheck.log"; judge cppcheck   || bad=1
exit $bad

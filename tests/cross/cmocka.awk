# cmocka.awk CMOCKA_H TESTS/CROSS/CMOCKA_H TESTS...   What the unit tests use of cmocka must be in the one for
# other machines too, whose compilers only check-cross asks.
FNR == 1 { file++ }
file <= 2 && match($0, /^ *#define [a-z_]+\(/) {
	name = substr($0, RSTART, RLENGTH - 1)
	sub(/.* /, "", name)
	known[file, name]
}
file > 2 {
	for (rest = $0; match(rest, /[a-z_]+\(/); rest = substr(rest, RSTART + RLENGTH)) {
		name = substr(rest, RSTART, RLENGTH - 1)
		if ((1, name) in known && !((2, name) in known)) {
			printf "%s:%d: tests/cross/cmocka.h has no %s()\n", FILENAME, FNR, name
			bad = 1
		}
	}
}
END { exit bad }

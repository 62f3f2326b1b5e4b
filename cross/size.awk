# size.awk   Reads the linker's map: bytes that each source directory and library adds.
/^Linker script and memory map/ { on = 1; next }
!on { next }
# A long section name has its numbers on the next line.
/^ [.A-Z][^ ]*$/ { name = $1; getline; $0 = " " name " " $0 }
/^ [.A-Z*][^ ]* +0x[0-9a-f]+ +0x[0-9a-f]+ / {
	n = hex($3); if (!n) next
	kind = $1 ~ /^\.(text|rodata|init|fini|eh_frame|ARM|rel|dyn|gnu.hash|hash)/ && $1 !~ /^\.(init|fini)_array/ ? "text" : \
	       $1 ~ /^(\.data|\.bss|\.got|\.tdata|\.tbss|\.init_array|\.fini_array|\.preinit_array|\.sdata|\.sbss|COMMON)/ ? "data" : ""
	if (kind == "" || $1 ~ /^\.rel.*\.debug/) next
	who = $4
	if (match(who, /lib[a-z]+\.a\(/)) who = substr(who, RSTART, RLENGTH - 1)
	else if (match(who, /\/obj\//)) { who = "src/" substr(who, RSTART + 5); sub(/\/[^\/]*$/, "", who) }
	else who = "start files"
	size[who, kind] += n; total[kind] += n; all[who] += n
}
function hex(s,   i, v) {
	s = substr(s, 3)
	for (i = 1; i <= length(s); i++) v = v * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1
	return v
}
END {
	printf "%-24s %12s %10s\n", "", "text+rodata", "data+bss"
	for (w in all) printf "%-24s %12d %10d\n", w, size[w, "text"], size[w, "data"] | "sort -k1,1"
	close("sort -k1,1")
	printf "%-24s %12d %10d\n", "total", total["text"], total["data"]
}

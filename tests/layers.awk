# Who may include whom: fails on an #include "dir/..." that the table does not allow.
#     awk -f tests/layers.awk src/*.c src/*/*.[ch]
# Files directly under src/ may include anything.
BEGIN {
	n = split("base:|model:base|nl:base|wire:base|store:base model wire|ipam:base model store|node:base model nl store|" \
		  "route:base model nl|nft:base model nl|bgp:base model|cni:base model nl wire ipam|ctl:base", rows, "|")
	for (i = 1; i <= n; i++) {
		split(rows[i], r, ":")
		may[r[1]] = " " r[1] " " r[2] " "
	}
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
	split($0, quoted, "\"")
	parts = split(FILENAME, at, "/")
	to = split(quoted[2], dir, "/") > 1 ? dir[1] : ""
	if (parts < 3 || at[parts - 2] != "src")
		next
	if (!(at[parts - 1] in may)) {
		print FILENAME ": directory " at[parts - 1] " is not in the table of tests/layers.awk"
		bad = 1
	} else if (!index(may[at[parts - 1]], " " to " ")) {
		print FILENAME ":" FNR ": " at[parts - 1] " may not include " quoted[2]
		bad = 1
	}
}
END { exit bad }

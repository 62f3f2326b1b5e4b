#!/usr/bin/env python3
"""`make bench`: what the loop and the store cost by themselves (micro.c), beside the system calls alone.

One table, also as build/bench-micro.json.
"""
import json
import os
import pathlib
import platform
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))
import lab as labs  # noqa: E402
from lab import ROOT, run as run_program  # noqa: E402
from pods import pod  # noqa: E402
from run import table  # noqa: E402

LISTED, LIST_BAR = 2000, 400


def measure(program):
    with tempfile.TemporaryDirectory(prefix="manx-micro-") as base:
        run_program(["mount", "-t", "tmpfs", "none", base])
        text = json.dumps({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": [pod(i) for i in range(LISTED)]},
                          separators=(",", ":"))
        (pathlib.Path(base) / "pods.json").write_text(text)
        try:
            lines = run_program([program, base], timeout=300).stdout.splitlines()
        finally:
            run_program(["umount", base])
    rows = [(what, int(ns) / 1000, int(floor) / 1000) for what, ns, floor in (line.split("\t") for line in lines)]
    took, = (us for what, us, _ in rows if "list" in what)
    return rows, len(text) / took


def main():
    if os.geteuid() != 0:
        sys.exit("the benchmark mounts a tmpfs: sudo make bench")
    labs.isolate()
    found, speed = measure(sys.argv[1])
    print(table([[what, "%.2f" % us, "%.2f" % floor if floor else "", "%.1f" % (us / floor) if floor else ""]
                 for what, us, floor in found], ["µs", "system calls, µs", "ratio"]))
    print("\nA list's bytes become rows at %.0f MB/s: bar %d, %s." % (speed, LIST_BAR, "met" if speed >= LIST_BAR else "MISSED"))
    out = ROOT / "build" / "bench-micro.json"
    rows = [{"what": what, "us": us, "floor_us": floor or None} for what, us, floor in found]
    out.write_text(json.dumps({"kernel": platform.release(), "cpus": os.cpu_count(), "list_mb_s": speed, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""`make bench`: how long an agent takes from exec to the moment at which it attaches pods.

A node with PODS pods and POLICIES policies in a file datastore; its agent is ended, by SIGTERM and by SIGKILL in
turn, and started again, and says by --ready-fd when it is ready.  The floor is the same program doing nothing
(`manx version`).  One table, also as build/bench-start.json.
"""
import json
import os
import pathlib
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))
import lab as labs  # noqa: E402
from lab import BINARY, PATH, ROOT, Lab, run as run_program  # noqa: E402
from run import table  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "10"))
PODS, POLICIES = 100, 20


def objects():
    pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-%d" % i, "labels": {"app": "a%d" % (i % POLICIES)}}}
            for i in range(PODS)]
    policies = [{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "policy-%d" % i},
                 "spec": {"podSelector": {"matchLabels": {"app": "a%d" % i}}, "ingress": [
                     {"from": [{"podSelector": {"matchLabels": {"app": "a%d" % ((i + 1) % POLICIES)}}}],
                      "ports": [{"port": 80}]}]}} for i in range(POLICIES)]
    return {"apiVersion": "v1", "kind": "List", "items": pods + policies}


def start_ms(node):
    here, there = os.pipe()
    began = time.monotonic()
    node.start(wait=False, args=("--ready-fd", str(there)), pass_fds=(there,))
    os.close(there)
    said = os.read(here, 1)
    took = time.monotonic() - began
    os.close(here)
    assert said, "the agent ended before it was ready\n" + node.log()
    return took * 1e3


def exec_ms():
    began = time.monotonic()
    subprocess.run([BINARY, "version"], env={"PATH": PATH}, stdout=subprocess.DEVNULL, check=True)
    return (time.monotonic() - began) * 1e3


def measure(base):
    with Lab("start", parent=base) as lab:
        node = lab.node()
        (node.store / "all.json").write_text(json.dumps(objects()))
        node.start()
        for i in range(PODS):
            node.pod("pod-%d" % i)
        started, floor = [], []
        for i in range(ROUNDS):
            node.end(signal.SIGTERM if i % 2 else signal.SIGKILL)
            started.append(start_ms(node))
            floor.append(exec_ms())
    return started, floor


def main():
    if os.geteuid() != 0:
        sys.exit("the benchmark makes namespaces: sudo make bench")
    labs.isolate()
    with tempfile.TemporaryDirectory(prefix="manx-start-") as base:
        run_program(["mount", "-t", "tmpfs", "none", base])
        try:
            started, floor = measure(base)
        finally:
            run_program(["umount", "-l", base])
    rows = [{"what": what, "median_ms": statistics.median(times), "worst_ms": max(times)} for what, times in (
        ("exec to ready, %d pods, %d policies" % (PODS, POLICIES), started), ("exec of manx version", floor))]
    print(table([[r["what"], "%.1f" % r["median_ms"], "%.1f" % r["worst_ms"]] for r in rows], ["median, ms", "worst, ms"]))
    out = ROOT / "build" / "bench-start.json"
    out.write_text(json.dumps({"kernel": platform.release(), "cpus": os.cpu_count(), "rounds": ROUNDS, "rows": rows}, indent=1)
                   + "\n")


if __name__ == "__main__":
    main()

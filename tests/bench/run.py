#!/usr/bin/env python3
"""`make bench`: what attaching a pod costs, beside the floor (floor.c) and Debian's plugins.

All contestants run interleaved, each in a node namespace of its own, on a tmpfs; every call is timed by
driver.c as a runtime would make it (spawn, stdin, stdout).  One table, also as build/bench.json.
Read the ratios: the same step moves by a third between quiet and busy minutes.
"""
import contextlib
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import lab as labs  # noqa: E402
from lab import BINARY, PATH, ROOT, Lab, run, wait_for  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SERIAL, AT_ONCE = 60, 100
PLUGINS = pathlib.Path("/usr/lib/cni")
ADD_BAR, DEL_BAR, STATUS_BAR_MS = 1.5, 2.0, 1.0
RULES = """
table inet floor {
    chain p0 { accept; }
    map pods { type ipv4_addr : verdict; }
    chain forward {
        type filter hook forward priority 0;
        ct state established,related accept
        ip daddr vmap @pods
    }
}
"""


def build(out):
    """The three programs; the stub static, as a plugin would be."""
    stub = ["musl-gcc" if shutil.which("musl-gcc") else "gcc", "-static", "-Os", "-s"]
    for name, compiler in (("floor", ["gcc", "-O2"]), ("driver", ["gcc", "-O2"]), ("stub", stub)):
        run([*compiler, "-std=gnu11", "-Wall", "-Wextra", "-o", str(out / name), str(HERE / (name + ".c"))], timeout=120)


class Contestant:
    """Something that answers CNI calls on a node."""

    def __init__(self, name, node, plugin, conf, env=None, pid=0):
        self.name, self.node, self.plugin, self.env, self.pid = name, node, str(plugin), env or {}, pid
        slug = name.replace(", ", "-").replace(" ", "-")
        self.pods = node.dir / ("pods-" + slug)
        self.pods.mkdir()
        self.conf = node.dir / (slug + ".json")
        self.conf.write_text(json.dumps(conf))
        self.calls = {}

    def measure(self, driver, count, at_once):
        p = self.node.run(str(driver), str(self.pods), self.plugin, str(self.conf), str(count), str(at_once), str(self.pid),
                          env={"PATH": PATH, **self.env}, timeout=120)
        for verb, row in json.loads(p.stdout).items():
            if row["failed"]:
                raise AssertionError("%s: %d of %d %ss failed\n%s" % (self.name, row["failed"], count, verb, p.stderr[:2000]))
            self.calls.setdefault((verb, at_once), []).append(row)
        wait_for("links of %s are gone" % self.name, lambda: not self.veths(), timeout=30, step=0.05)

    def veths(self):
        return [name for name, row in self.node.links().items()
                if row.get("linkinfo", {}).get("info_kind") == "veth" and name != "eth0"]

    def rows(self, verb, at_once):
        return self.calls.get((verb, at_once), [])

    def median_ms(self, verb):
        return statistics.median(us for row in self.rows(verb, 1) for us in row["us"]) / 1e3

    def p99_ms(self, verb):
        calls = sorted(us for row in self.rows(verb, 1) for us in row["us"])
        return calls[int(len(calls) * 0.99)] / 1e3

    def burst_ms(self, verb):
        return statistics.median(row["all_us"] for row in self.rows(verb, AT_ONCE)) / 1e3

    def cpu_ms(self, verb):
        return statistics.median(row["plugin_cpu_us"] + row["daemon_cpu_us"] for row in self.rows(verb, 1)) / 1e3


def start_floor(stack, node, out):
    node.run("nft", "-f", "-", input=RULES)
    node.sysctl({"net/ipv4/ip_forward": 1})
    path = node.dir / "floor.sock"
    daemon = subprocess.Popen(node.argv(str(out / "floor"), str(path)), preexec_fn=labs.die_with_parent)
    stack.callback(lambda: (daemon.kill(), daemon.wait()))
    wait_for("the floor listens", path.exists)
    env = {"STUB_SOCKET": str(path)}
    conf = {"cniVersion": "1.0.0", "name": "k8s-pod-network", "type": "stub"}
    return [Contestant("floor", node, out / "stub", conf, env, daemon.pid),
            Contestant("floor, lazy DEL", node, out / "stub", conf, {**env, "STUB_LAZY": "1"}, daemon.pid)]


def start_manx(name, node, pools):
    store = node.dir / "store"
    store.mkdir()
    node.start(pool=pools, datastore="file %s" % store, encapsulation="none", ipam="block")
    return Contestant(name, node, BINARY, json.loads(node.conf(cniVersion="1.1.0")), {"DRIVER_STATUS": "1"}, node.process.pid)


def start_plugin(name, node):
    """Debian's ptp or bridge with host-local, if the machine has them."""
    ipam = {"type": "host-local", "subnet": "10.66.0.0/16", "dataDir": str(node.dir / "leases"),
            "routes": [{"dst": "0.0.0.0/0"}]}
    conf = {"cniVersion": "1.0.0", "name": name, "type": name, "ipMasq": False, "mtu": 1450, "ipam": ipam}
    if name == "bridge":
        conf.update(bridge="cbr0", isGateway=True)
    return Contestant(name, node, PLUGINS / name, conf)


def table(rows, names):
    """Markdown with columns as wide as they must be."""
    lines = [["", *names], *rows]
    width = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = []
    for n, line in enumerate(lines):
        cells = [line[0].ljust(width[0]), *(c.rjust(w) for c, w in zip(line[1:], width[1:]))]
        text.append("| " + " | ".join(cells) + " |")
        if n == 0:
            text.append("|" + "|".join("-" * (w + 2) for w in width) + "|")
    return "\n".join(text)


def report(found):
    floor, lazy, manx = found["floor"], found["floor, lazy DEL"], found["manx"]
    others = [c for name, c in found.items() if name.startswith(("manx", "ptp", "bridge"))]
    measures = [("ADD, median, ms", floor, lambda c: c.median_ms("ADD"), ADD_BAR),
                ("ADD, p99, ms", floor, lambda c: c.p99_ms("ADD"), None),
                ("DEL, median, ms", lazy, lambda c: c.median_ms("DEL"), DEL_BAR),
                ("DEL, p99, ms", lazy, lambda c: c.p99_ms("DEL"), None),
                ("%d ADDs at once, all done, ms" % AT_ONCE, lazy, lambda c: c.burst_ms("ADD"), None),
                ("%d DELs at once, all done, ms" % AT_ONCE, lazy, lambda c: c.burst_ms("DEL"), None),
                ("CPU per ADD, plugin and daemon, ms", floor, lambda c: c.cpu_ms("ADD"), None),
                ("CPU per DEL, plugin and daemon, ms", lazy, lambda c: c.cpu_ms("DEL"), None)]
    rows, data = [], []
    for what, base, measure, bar in measures:
        ratio = measure(manx) / measure(base)
        verdict = "" if bar is None else "%.1f %s" % (bar, "met" if ratio <= bar else "MISSED")
        rows.append([what, "%.2f" % measure(base), *("%.2f" % measure(c) for c in others), "%.2f" % ratio, verdict])
        data.append({"what": what, "floor": measure(base), "ratio": ratio, "bar": bar,
                     **{c.name: measure(c) for c in others}})
    status = {c.name: c.median_ms("STATUS") for c in others if c.rows("STATUS", 1)}
    rows.append(["STATUS, median, ms", "", *("%.2f" % status[c.name] if c.name in status else "" for c in others), "",
                 "%.1f ms %s" % (STATUS_BAR_MS, "met" if status["manx"] < STATUS_BAR_MS else "MISSED")])
    data.append({"what": "STATUS, median, ms", "bar": STATUS_BAR_MS, **status})
    print(table(rows, ["floor", *(c.name for c in others), "manx / floor", "bar"]))
    print("\nfloor: floor.c and stub.c, IPv4, no datastore; its DELs are lazy (synchronous: %.1f ms).  manx: file datastore on\n"
          "tmpfs, ipam = block, IPv4; %d rounds of %d calls one by one and %d at once.  Linux %s, %d CPUs.%s" %
          (floor.median_ms("DEL"), ROUNDS, SERIAL, AT_ONCE, platform.release(), os.cpu_count(),
           "" if "ptp" in found else "\nptp and bridge: not installed (Debian: containernetworking-plugins)."))
    out = ROOT / "build" / "bench.json"
    out.parent.mkdir(exist_ok=True)
    whole = {"kernel": platform.release(), "cpus": os.cpu_count(), "rounds": ROUNDS, "rows": data}
    out.write_text(json.dumps(whole, indent=1) + "\n")


def bench(stack, base):
    out = base / "bin"
    out.mkdir()
    build(out)
    lab = stack.enter_context(Lab("bench", parent=str(base)))
    contestants = start_floor(stack, lab.node("floor"), out)
    contestants += [start_manx("manx", lab.node("manx"), ["10.42.0.0/16"]),
                    start_manx("manx, dual stack", lab.node("dual"), ["10.42.0.0/16", "fd00:10:42::/48"])]
    contestants += [start_plugin(name, lab.node(name)) for name in ("ptp", "bridge") if (PLUGINS / name).exists()]
    for n in range(ROUNDS):
        sys.stderr.write("round %d of %d\n" % (n + 1, ROUNDS))
        for at_once, count in ((1, SERIAL), (AT_ONCE, AT_ONCE)):
            for c in contestants:
                if c.name == "floor" and at_once > 1:
                    continue        # a hundred synchronous RTM_DELLINK: two seconds of waiting each round
                c.measure(out / "driver", count, at_once)
    report({c.name: c for c in contestants})


def main():
    if os.geteuid() != 0:
        sys.exit("the benchmark makes network namespaces: sudo make bench")
    labs.isolate()
    base = pathlib.Path(tempfile.mkdtemp(prefix="manx-bench-", dir="/tmp"))
    run(["mount", "-t", "tmpfs", "none", str(base)])
    try:
        with contextlib.ExitStack() as stack:
            bench(stack, base)
    finally:
        run(["umount", "-l", str(base)])
        base.rmdir()


if __name__ == "__main__":
    main()

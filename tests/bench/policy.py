#!/usr/bin/env python3
"""`make bench`: what NetworkPolicy costs, beside the same policies in hand-written layouts.

A sender, a router, a pod; the contestants differ in the router's rules: none, connection tracking alone, a verdict
map with a chain a pod (the floor for any layout of chains), a jump a pod (as kube-router does it), and
manx's, made by its agent from objects.  An nf_tables listener in any namespace of the machine (an agent, `nft monitor`) makes
large loads several times slower, those of other programs too: none should run.  Each pod has a policy of its own that admits a hundred addresses on one
port; the measured pod is the last.  One table, also as build/bench-policy.json.  Read the differences: the
bare path moves by a third between quiet and busy minutes.
"""
import concurrent.futures
import json
import os
import pathlib
import platform
import re
import socket
import statistics
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import lab as labs  # noqa: E402
from lab import ROOT, Lab, run, wait_for  # noqa: E402
from netpol.cluster import ask, turn  # noqa: E402

SIZES = [int(n) for n in os.environ.get("SIZES", "10,100,1000").split(",")]
ROUNDS = int(os.environ.get("ROUNDS", "40"))
PACKETS = {"est": 2000, "new": 500}
GROUPS, GROUP, PORT = 50, 100, 8080
NETLINK_NETFILTER, NFNLGRP_NFTABLES, CHANGES = 12, 7, 200
SENDER, ROUTER, TARGET = "10.0.0.2", "10.0.0.1", "10.65.0.2"

# --- what is asked for ----------------------------------------------------------------------------------


def peers(group):
    """The addresses that a group's pods have: not of this node; the sender is in each."""
    return ["10.%d.%d.%d" % (100 + group, i // 250, i % 250 + 1) for i in range(GROUP - 1)]


def pod(name, labels, ip=None):
    """With an address: one of another node."""
    found = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}}
    return {**found, "spec": {"nodeName": "elsewhere"}, "status": {"podIPs": [{"ip": ip}]}} if ip else found


def policy(name, selector, source, port=PORT):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name},
            "spec": {"podSelector": {"matchLabels": selector}, "ingress": [
                {"from": [{"podSelector": {"matchLabels": source}}], "ports": [{"protocol": "UDP", "port": port}]}]}}


def objects(size):
    everywhere = {"g%d" % g: "in" for g in range(GROUPS)}
    found = [pod("peer-%d-%d" % (g, i), {"g%d" % g: "in"}, ip) for g in range(GROUPS) for i, ip in enumerate(peers(g))]
    found += [pod("sender", everywhere, SENDER), pod("local", {**everywhere, "app": "local"}), {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "local"},
        "spec": {"podSelector": {"matchLabels": {"app": "local"}}, "policyTypes": ["Egress"], "egress": [
            {"to": [{"podSelector": {}}], "ports": [{"protocol": "UDP", "port": PORT}]}]}}]
    for i in range(size):
        found += [pod("pod-%d" % i, {"app": "a%d" % i}),
                  policy("policy-%d" % i, {"app": "a%d" % i}, {"g%d" % (i % GROUPS): "in"})]
    return found


# --- layouts by hand ------------------------------------------------------------------------------------

TRACK = "ct state vmap { established : accept, related : accept, invalid : drop }"


def layout(kind, size):
    """nft's text.  The sets are shared by the pods of a group, as manx shares them."""
    pods = ["10.66.%d.%d" % (i // 250, i % 250 + 1) for i in range(size - 1)] + [TARGET]
    lines = ["table inet bench {"]
    if kind in ("map", "jumps"):
        for g in range(min(size, GROUPS)):
            lines.append("set s%d { type ipv4_addr; elements = { %s } }" % (g, ", ".join([*peers(g), SENDER])))
        for i in range(size):
            lines.append("chain p%d {\n ip saddr @s%d udp dport %d accept\n drop\n}" % (i, i % GROUPS, PORT))
    if kind == "map":
        lines.append("map pods { type ipv4_addr : verdict; elements = { %s } }" %
                     ", ".join("%s : goto p%d" % pair for pair in zip(pods, range(size))))
    lines += ["chain forward {", "type filter hook forward priority 0", TRACK]
    if kind == "map":
        lines.append("ip daddr vmap @pods")
    if kind == "jumps":
        lines += ["ip daddr %s jump p%d" % pair for pair in zip(pods, range(size))]
    return "\n".join(lines + ["}", "}"]) + "\n"


# --- paths ------------------------------------------------------------------------------------------------

class Path:
    """sender -> router -> receiver; target: the receiver's address."""

    def __init__(self, sender, receiver, source, target):
        self.sender, self.receiver, self.source, self.target = sender, receiver, source, target
        receiver.run("nft", "-f", "-", input="table netdev sink {\nchain c {\ntype filter hook ingress device eth0 priority 0\n"
                     "ip daddr %s udp dport %d drop\n}\n}\n" % (target, PORT))

    def argv(self):
        return [self.sender.path, self.receiver.path, self.source, self.target]


def link(router, end, port, router_address, address):
    router.batch("link add %s type veth peer name eth0 netns %s" % (port, end.path), "link set %s up" % port,
                 "addr add %s/24 dev %s" % (router_address, port))
    end.batch("link set eth0 up", "addr add %s/24 dev eth0" % address, "route add default via %s" % router_address)


def plain_path(lab, name, rules=None):
    sender, router, receiver = (lab.namespace("%s-%s" % (name, part)) for part in ("a", "r", "b"))
    router.sysctl({"net/ipv4/ip_forward": 1})
    link(router, sender, "pa", ROUTER, SENDER)
    link(router, receiver, "pb", "10.65.0.1", TARGET)
    if rules:
        router.run("nft", "-f", "-", input=rules, timeout=120)
    return Path(sender, receiver, SENDER, TARGET)


class Manx:
    """A node with an agent whose pods become more and more."""

    def __init__(self, lab):
        self.lab, self.node, self.sender = lab, lab.node("manx"), lab.namespace("manx-a")
        link(self.node, self.sender, "pa", ROUTER, SENDER)
        self.node.start(pool=["10.42.0.0/16"], encapsulation="none", nat_outgoing="no")
        self.pods, self.local = [], self.node.pod("local")

    def attach(self, size):
        """The objects first: a pod is under its policies from the start."""
        self.lab.write("objects.json", objects(size))
        turn(self.node)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            new = [self.node.new_pod("pod-%d" % i) for i in range(len(self.pods), size)]
            list(pool.map(lambda p: p.add(), new))
        self.pods += new

    def paths(self):
        last = self.pods[-1]
        return [Path(self.sender, last, SENDER, last.v4), Path(self.local, last, self.local.v4, last.v4)]


# --- measuring ---------------------------------------------------------------------------------------------

def measure(out, mode, paths):
    """Nanoseconds a packet on each path; all must have arrived."""
    argv = [str(out / "packets"), str(PACKETS[mode]), str(ROUNDS), mode]
    lines = run([*argv, *[a for p in paths for a in p.argv()]], timeout=300).stdout.split("\n")[:-1]
    rows = [tuple(map(int, line.split())) for line in lines]
    for path, (_, arrived) in zip(paths, rows):
        if arrived < 99:
            raise AssertionError("%s: of 100 packets %d arrived" % (path.argv(), arrived))
    return [ns for ns, _ in rows]


def packet_rows(lab, out, manx):
    """Every path of a size is made anew: what the kernel allocates later it reaches more slowly."""
    found = []
    for size in SIZES:
        manx.attach(size)
        remote, local = manx.paths()
        bare, tracked = plain_path(lab, "none-%d" % size), plain_path(lab, "track-%d" % size, layout("track", 1))
        shapes = [plain_path(lab, "%s-%d" % (kind, size), layout(kind, size)) for kind in ("map", "jumps")]
        for mode in ("est", "new"):
            ns = measure(out, mode, [bare, tracked, *shapes, remote])
            found.append(["%s packet, %d pods, ns" % ("established" if mode == "est" else "first", size),
                          *[n - ns[0] for n in ns[1:]]])
        ns = measure(out, "new", [bare, tracked, local])
        found.append(["first packet pod to pod, both isolated, %d pods, ns" % size, ns[1] - ns[0], "", "", ns[2] - ns[0]])
        for shape in (bare, tracked, *shapes):
            for space in (shape.sender, shape.receiver):
                space.remove()
    return found


class Commits:
    """Tells when the kernel's tables changed."""

    def __init__(self, node):
        with node.entered():
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.socket.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))
        self.socket.settimeout(10)

    def after(self, path, content):
        """Milliseconds from the end of a file's writing, which is what its watcher hears of, to the first message."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(fd, json.dumps(content).encode())
        time.sleep(0.02)
        begun = time.monotonic()
        os.close(fd)
        self.socket.recv(65536)
        took = (time.monotonic() - begun) * 1000
        self.socket.settimeout(0.03)
        try:
            while True:
                self.socket.recv(65536)
        except TimeoutError:
            self.socket.settimeout(10)
        return took


def event_rows(lab, manx):
    """From a file that was written to the commit in the kernel."""
    commits, size = Commits(manx.node), SIZES[-1]

    def join(i):
        return pod("joins-%d" % i, {"g%d" % (i % SIZES[0]): "in"}, "10.99.%d.%d" % (i // 250, i % 250 + 1))

    def change(i):
        return policy("late", {"app": "a0"}, {"g1": "in"}, 9000 + i)

    rows = []
    for what, name, content in (("a peer joins", "joins.json", join), ("a policy changes", "late.json", change)):
        took = sorted(commits.after(lab.store / name, content(i)) for i in range(CHANGES))
        rows += [["%s, %d policies, file to kernel, median ms" % (what, size), "", "", "", took[CHANGES // 2]],
                 ["  99 of 100, ms", "", "", "", took[CHANGES * 99 // 100]]]
    commits.socket.close()
    for name in ("joins.json", "late.json"):
        lab.erase(name)
    turn(manx.node)
    return rows


def engine(lab, *argv):
    """The engine alone: lines of build/bench-policy, the times of each pass by what it is called."""
    space = lab.namespace("engine-%d" % lab.count())
    text = space.run(str(ROOT / "build/bench-policy"), *map(str, argv), timeout=200).stdout
    space.remove()
    found = {}
    for line in text.splitlines():
        match = re.match(r"(.+?) +([\d.]+) us, .*; \d+ sets, \d+ rules, (\d+) elements", line)
        if match:
            found.setdefault(match[1], []).append((float(match[2]), int(match[3])))
    found["KiB"] = int(re.search(r"kernel memory (-?\d+) KiB", text)[1])
    return found


def engine_rows(lab):
    cold, joins, unique = engine(lab, 1000, 1, 10, 100), engine(lab, 1, 1, 1, 10000), engine(lab, 1000, 100, 1, 0, "unique")
    return [["engine: 1000 policies, 10000 ports, 100000 peers, ms", "", "", "", cold["policies, cold"][0][0] / 1000],
            ["  memory of the kernel, KiB", "", "", "", cold["KiB"]],
            ["engine: one joins 10000 peers, us", "", "", "", statistics.median(t for t, _ in joins["a peer more"])],
            ["engine: 1000 pods of own labels, 100 policies, ms", "", "", "", unique["policies, cold"][0][0] / 1000],
            ["  elements", "", "", "", unique["policies, cold"][0][1]],
            ["  memory of the kernel, KiB", "", "", "", unique["KiB"]]]


def settle_ms(node):
    begun = time.monotonic()
    turn(node)
    return (time.monotonic() - begun) * 1000


def load_rows(lab, manx):
    """The whole table from nothing, and policies that no two pods share a label of."""
    node, size = manx.node, SIZES[-1]
    node.end()
    node.run("nft", "delete", "table", "inet", "manx")
    begun = time.monotonic()
    node.start(timeout=120)
    took = (time.monotonic() - begun) * 1000
    rows = [["cold load, %d pods and policies, %d peers, ms" % (size, GROUPS * GROUP), "", "", "", took]]
    before = ask(node, "status")["policy"]
    unique = [policy("unique-%d" % i, {"app": "a%d" % i}, {"only": "u%d" % i}, 7000 + i % 1000) for i in range(size)]
    lab.write("unique.json", unique)
    rows.append(["%d policies of labels of their own, one file, ms" % size, "", "", "", settle_ms(node)])
    after = ask(node, "status")
    rows.append(["  sets more", "", "", "", after["policy"]["sets"] - before["sets"]])
    rows.append(["  memory of the agent, KiB", "", "", "", after["process"]["rss_bytes"] // 1024])
    return rows


# --- the table ----------------------------------------------------------------------------------------------

def cell(value):
    return value if isinstance(value, str) else "%.1f" % value if isinstance(value, float) else "%d" % value


def report(rows):
    from run import table
    names = ["tracking", "map", "jumps", "manx"]
    print(table([[row[0], *map(cell, row[1:])] for row in rows], names))
    print("\npackets: added to the bare path.  tracking: ct state alone; map: a verdict map and a chain a pod; jumps: a jump a\n"
          "pod, as kube-router.  %d rounds.  Linux %s, %d CPUs." % (ROUNDS, platform.release(), os.cpu_count()))
    (ROOT / "build" / "bench-policy.json").write_text(json.dumps(
        {"kernel": platform.release(), "rows": [dict(zip(["what", *names], row)) for row in rows]}, indent=1) + "\n")


def main():
    if os.geteuid() != 0:
        sys.exit("the benchmark makes network namespaces: sudo make bench")
    labs.isolate()
    with tempfile.TemporaryDirectory(prefix="manx-bench-") as out, Lab("policy") as lab:
        out = pathlib.Path(out)
        run(["gcc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", str(out / "packets"), str(HERE / "packets.c")], timeout=60)
        manx = Manx(lab)
        rows = packet_rows(lab, out, manx) + event_rows(lab, manx) + load_rows(lab, manx) + engine_rows(lab)
        report(rows)


if __name__ == "__main__":
    main()

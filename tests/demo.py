#!/usr/bin/env python3
"""`make demo`: three nodes on this machine, the real agent in each, pods, and who reaches whom, before and after a policy.

KEEP=1 leaves it all running to play with.  Exit 0 only if everything seen is what should be.
"""
import ipaddress
import json
import os
import shlex
import signal
import sys
import time

import lab as labs
from lab import Lab, matrix, ping, wait_for
from netpol.cluster import turn

NAMES = ["web", "db"]
CLUSTER = 3
POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db-for-web-only}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
"""
KEEP = os.environ.get("KEEP", "") not in ("", "0", "no")
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code, text):
    return "\033[%sm%s\033[0m" % (code, text) if COLOUR else text


def dim(text):
    return paint("2", text)


def bold(text):
    return paint("1", text)


class Wrong(Exception):
    pass


def should(condition, text):
    if not condition:
        raise Wrong(text)


class Step:
    """One line when it is done: what, what came out, how long it took."""

    def __init__(self, what):
        self.what, self.text = what, ""

    def __enter__(self):
        self.begun = time.monotonic()
        return self

    def say(self, text):
        self.text = text

    def __exit__(self, kind, value, trace):
        ms = (time.monotonic() - self.begun) * 1000
        mark = paint("32", "✓") if kind is None else paint("31", "✗")
        print("  %s %s %s %s" % (mark, bold("%-9s" % self.what), "%-68s" % self.text, dim("%7.1f ms" % ms)))
        sys.stdout.flush()


def title(text):
    print("\n  " + bold(text))


def block(text):
    for line in text.rstrip("\n").split("\n"):
        print("    " + line)


def make_nodes(lab):
    with Step("nodes") as s:
        nodes = [lab.node() for _ in range(CLUSTER)]
        s.say("%s on one switch, IPv4 and IPv6" % ", ".join(n.name for n in nodes))
    return nodes


def start_agents(nodes):
    with Step("agents") as s:
        for n in nodes:
            n.start(wait=False)
        for n in nodes:
            n.wait_ready()
        status = [n.show("status") for n in nodes]
        s.say("ready, %d KiB of memory each, one datastore folder" %
              (max(st["process"]["rss_bytes"] for st in status) // 1024))
        for n, st in zip(nodes, status):
            should(st["ready"] and st["node"] == n.name, "%s says it is %r" % (n.name, st["node"]))
            should(st["datastore"] == {"driver": "file", "state": "synced"}, "datastore of %s: %s" % (n.name, st["datastore"]))


def attach(nodes):
    pods = []
    for i in range(len(nodes) * len(NAMES)):
        node, name = nodes[i // len(NAMES)], "%s-%d" % (NAMES[i % len(NAMES)], i // len(NAMES))
        pod = node.new_pod(name)
        with Step("pod") as s:
            s.begun = time.monotonic()
            pod.add()
            pods.append(pod)
            s.say("%-6s on %-7s %-14s %s" % (name, node.name, pod.v4, pod.v6))
        for address, pool in zip((pod.v4, pod.v6), labs.POOLS):
            should(address and ipaddress.ip_address(address) in ipaddress.ip_network(pool),
                   "%s has %s, which is not in %s" % (name, address, pool))
    for text in ("v4", "v6"):
        should(len({getattr(p, text) for p in pods}) == len(pods), "an address was given twice")
    return pods


def overlay(nodes):
    with Step("overlay") as s:
        def connected():
            views = [n.show("status")["overlay"] for n in nodes]
            return views if all(v["peers"] == len(nodes) - 1 for v in views) else None
        view = wait_for("every node sees the others: %s" % nodes[0].show("status")["overlay"], connected)[0]
        should(view["mode"] and view["device"], "no overlay: %s" % view)
        s.say("%s, as this kernel has it (%s, MTU %d)" % (view["mode"], view["device"], view["mtu"]))


def first_packet(pods):
    a, b = pods[0], pods[-1]
    for address in (b.v4, b.v6):
        with Step("ping") as s:
            s.say("%s on %s  →  %s on %s, %s" % (a.name, a.node.name, b.name, b.node.name, address))
            should(ping(a, address), "no answer from %s" % address)


def app(pod):
    return pod.name.split("-")[0]


def everybody(a, b):
    return True


def web_only(a, b):
    """What POLICY lets through; a pod always reaches itself."""
    return app(b) != "db" or app(a) == "web" or a is b


def who_reaches_whom(pods, allowed):
    """The table, IPv4 and IPv6."""
    with Step("reach") as s:
        seen = {4: matrix(pods, 4), 6: matrix(pods, 6)}
        good = sum(sum(v.values()) for v in seen.values())
        s.say("%d TCP connections, %d opened" % (2 * len(pods) ** 2, good))
    head = "".join("%-7s" % p.name for p in pods)
    print("\n    %-16s%s" % ("from \\ to", head.rstrip()))
    for a in pods:
        cells = ""
        for b in pods:
            four, six = seen[4][a, b], seen[6][a, b]
            cell, colour = ("●", "32") if four and six else ("4", "33") if four else ("6", "33") if six else ("·", "31")
            cells += paint(colour, cell) + " " * 6
        print("    %-16s%s" % ("%-6s %s" % (a.name, a.node.name), cells.rstrip()))
    print("    " + dim("● IPv4 and IPv6   4, 6 only that   · neither"))
    for (a, b), opened in [*seen[4].items(), *seen[6].items()]:
        should(opened == allowed(a, b), "%s %s %s" % (a.name, "reaches" if opened else "does not reach", b.name))


def apply_policy(lab, nodes, pods):
    """Labels for the pods and one policy, by `manx apply` on one node; in force on all."""
    title("one policy")
    block(POLICY)
    print()
    with Step("policy") as s:
        objects = lab.dir / "policy.yaml"
        labels = ["{apiVersion: v1, kind: Pod, metadata: {name: %s, labels: {app: %s}}}\n" % (p.name, app(p)) for p in pods]
        objects.write_text("---\n".join([POLICY, *labels]))
        nodes[0].manx("apply", "-f", str(objects))
        for n in nodes:
            wait_for("%s has the policy in its kernel" % n.name, lambda: explained(n, "db-1", "db-0")["verdict"] == "deny")
            turn(n)
        s.say("applied on %s, in force on all nodes" % nodes[0].name)


def explained(node, a, b):
    return json.loads(node.manx("explain", a, b, "5432", "-o", "json", check=False).stdout)


def explain(nodes):
    title("manx explain db-1 db-0 5432   %s" % dim("on " + nodes[0].name))
    block(nodes[0].manx("explain", "db-1", "db-0", "5432", check=False).stdout)
    found = explained(nodes[0], "db-1", "db-0")
    should(found["verdict"] == "deny" and found["kernel"] == "agrees", "explain says %s" % found)


def show(nodes, pods):
    for verb in (["status"], ["ipam", "show"]):
        title("manx %s   %s" % (" ".join(verb), dim("on " + nodes[0].name)))
        block(nodes[0].manx(*verb).stdout)
    title("what CNI ADD answered for %s" % pods[0].name)
    result = json.dumps(pods[0].result.json, indent=2)
    block(result)
    print()


def used(node):
    return sum(b["used"] for b in node.show("ipam", "show")["blocks"])


def detach(nodes, pods):
    with Step("detach") as s:
        should(used(nodes[0]) == 2 * len(pods), "ipam counts %d addresses, not %d" % (used(nodes[0]), 2 * len(pods)))
        for pod in pods:
            answer = pod.delete()
            should(answer.code == 0, "DEL of %s: %s" % (pod.name, answer.out))
        wait_for("every address is given back", lambda: all(used(n) == 0 for n in nodes))
        wait_for("every link is gone", lambda: not any(n.host_links() for n in nodes))
        for n in nodes:
            left = [*n.routes(4, 171), *n.routes(6, 171)]
            should(not left, "%s keeps the routes %s" % (n.name, left))
        s.say("%d DELs; addresses, links and routes are gone" % len(pods))


def stop(nodes):
    with Step("stop") as s:
        for n in nodes:
            code = n.end()
            should(code == 0, "agent of %s ended with %s" % (n.name, code))
        s.say("agents ended, exit 0")


def keep(lab, nodes, pods):
    """What a person needs to play with it, and to be rid of it."""
    script = lab.dir / "remove"
    lines = ["#!/bin/sh", "kill %s" % " ".join(str(n.process.pid) for n in nodes), "sleep 1"]
    lines += ["umount -l %s" % shlex.quote(ns.path) for ns in reversed(lab.spaces())]
    script.write_text("\n".join(lines + ["rm -rf %s" % lab.dir, ""]))
    script.chmod(0o755)
    node, pod = nodes[0], pods[0]
    title("kept; all of it is in %s" % lab.dir)
    block("\n".join([
        "enter a node      nsenter --net=%s bash" % node.path,
        "enter a pod       nsenter --net=%s bash       # %s, %s" % (pod.path, pod.name, pod.v4),
        "ask its agent     %s status --socket %s" % (labs.BINARY, node.socket_path),
        "                  %s routes --socket %s" % (labs.BINARY, node.socket_path),
        "its log           %s" % node.log_path,
        "the datastore     ls -R -A %s" % lab.store,
        "remove it all     %s" % script]))


def demo():
    begun = time.monotonic()
    with Lab("demo", keep=KEEP) as lab:
        print("\n  %s: pod networking on %d nodes, each a network namespace of this machine\n" % (bold("manx"), CLUSTER))
        nodes = make_nodes(lab)
        start_agents(nodes)
        pods = attach(nodes)
        overlay(nodes)
        first_packet(pods)
        who_reaches_whom(pods, everybody)
        apply_policy(lab, nodes, pods)
        who_reaches_whom(pods, web_only)
        explain(nodes)
        show(nodes, pods)
        if KEEP:
            keep(lab, nodes, pods)
            return
        detach(nodes, pods)
        stop(nodes)
    with Step("clean") as s:
        s.say("no process, mount, link or file is left")
        should(not os.path.exists(lab.dir), "%s is left" % lab.dir)
    print("\n  %s in %.1f s\n" % (paint("32", "all as it should be"), time.monotonic() - begun))


def main():
    sys.stdout.reconfigure(errors="replace")
    if os.geteuid() != 0:
        sys.exit("the demo makes network namespaces: sudo make demo")
    if not os.access(labs.BINARY, os.X_OK):
        sys.exit("%s is not built: make" % labs.BINARY)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not KEEP:
        labs.isolate()
    try:
        demo()
    except (Wrong, AssertionError) as e:
        sys.exit("\n  %s\n" % paint("31", "not as it should be: %s" % e))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

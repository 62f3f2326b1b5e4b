"""When policy holds: from a pod's first instant, through changes, restarts, upgrades and other programs' flushes.

A flood sends from one place, each packet from a port of its own, so each begins a flow.  Port 80 is denied, 81 allowed: of
the first none may come, of the second some must, else nothing was tried.
"""
import ipaddress
import re
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from lab import die_with_parent, tcp, wait_for
from netpol.cluster import turn
from packets import Sniffer

DENIED, ALLOWED = 80, 81
REPAIR_S = 0.25
SO_RCVBUFFORCE, RECEIVE_BUFFER = 33, 16 << 20
FLOOD = """
import socket, struct, sys, time
port = 10000
while True:
    port = port + 1 if port < 60000 else 10000
    for address in sys.argv[1:]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.bind(("", port))
            for to in (%d, %d):
                try:
                    s.sendto(struct.pack("!8sd", b"flooding", time.monotonic()), (address, to))
                except OSError:
                    pass        # not attached yet
    time.sleep(0.0003)
""" % (DENIED, ALLOWED)


class Flood:
    def __init__(self, space, *addresses):
        self.process = subprocess.Popen(space.argv(sys.executable, "-c", FLOOD, *addresses), preexec_fn=die_with_parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Gate(Sniffer):
    """Counts what of a flood arrives in a namespace: when it was sent, by port."""

    def __init__(self, space):
        super().__init__(space)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self.socket.setblocking(False)
        self.sent = {DENIED: [], ALLOWED: []}

    def look(self):
        while True:
            try:
                data, sender = self.socket.recvfrom(256)
            except BlockingIOError:
                return self.sent
            at = data.find(b"flooding")
            if at >= 8 and sender[2] != socket.PACKET_OUTGOING:
                (port,) = struct.unpack_from("!H", data, at - 6)
                self.sent[port].append(struct.unpack_from("!d", data, at + 8)[0])

    def until_open(self, timeout=5):
        """Until something allowed that was sent from now on has come."""
        now = time.monotonic()
        wait_for("something comes on port %d" % ALLOWED, lambda: any(t > now for t in self.look()[ALLOWED]), timeout)


def policy(name, **spec):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"podSelector": {"matchLabels": {"app": "web"}}, **spec}}


ONLY_ALLOWED = [{"ports": [{"protocol": "UDP", "port": ALLOWED}]}]


def labelled(name, app="web"):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": app}},
            "spec": {"containers": [{"name": "c"}]}}


@pytest.fixture(scope="module")
def nodes(lab):
    found = [lab.node().start(wait=False) for _ in range(2)]
    for node in found:
        node.wait_ready()
    return found


@pytest.fixture(scope="module")
def peers(nodes):
    """One on each node, of no policy."""
    return [node.pod("peer-%d" % i) for i, node in enumerate(nodes)]


@pytest.fixture(scope="module")
def web(lab, nodes, peers):
    """A pod that takes what is allowed only."""
    lab.write("web.json", [labelled("web"), policy("web", policyTypes=["Ingress"], ingress=ONLY_ALLOWED)])
    pod = nodes[0].pod("web")
    for peer in peers:
        with Gate(pod) as gate, Flood(peer, pod.v4):
            gate.until_open()
    return pod


def next_addresses(node):
    """What the next pod of the node gets."""
    found = []
    for block in node.objects("ipamblocks").values():
        spec = block["spec"]
        if spec["affinity"] == "host:" + node.name:
            net = ipaddress.ip_network(spec["cidr"])
            found.append(str(net.network_address + spec["unallocated"][0]))
    assert len(found) == 2
    return found


@pytest.mark.parametrize("near", [True, False], ids=["same-node", "other-node"])
def test_into_a_pod_nothing_denied_comes_from_the_first_instant(lab, nodes, peers, near):
    lab.write("new.json", [labelled("new-%d" % i) for i in range(5)] +
              [policy("new", policyTypes=["Ingress"], ingress=ONLY_ALLOWED)])
    try:
        for i in range(5):
            expected = next_addresses(nodes[0])
            pod = nodes[0].new_pod("new-%d" % i)
            with Gate(pod) as gate, Flood(peers[0] if near else peers[1], *expected):
                time.sleep(0.1)
                pod.add()
                assert {pod.v4, pod.v6} == set(expected)
                gate.until_open()
                assert gate.look()[DENIED] == []
            pod.delete().ok()
            pod.remove()
    finally:
        lab.erase("new.json")


@pytest.mark.parametrize("near", [True, False], ids=["same-node", "other-node"])
def test_out_of_a_pod_nothing_denied_goes_from_the_first_instant(lab, nodes, peers, near):
    peer = peers[0] if near else peers[1]
    lab.write("new.json", [labelled("new-%d" % i) for i in range(5)] +
              [policy("new", policyTypes=["Egress"], egress=ONLY_ALLOWED)])
    try:
        for i in range(5):
            pod = nodes[0].new_pod("new-%d" % i)
            with Gate(peer) as gate, Flood(pod, peer.v4, peer.v6):
                time.sleep(0.1)
                pod.add()
                gate.until_open()
                assert gate.look()[DENIED] == []
            pod.delete().ok()
            pod.remove()
    finally:
        lab.erase("new.json")


def test_pod_whose_object_comes_late_is_under_its_namespaces_policies(lab, nodes, peers):
    """Without an object it is a pod without labels, so a policy for all pods holds."""
    lab.write("all.json", policy("all", podSelector={}, policyTypes=["Ingress"], ingress=ONLY_ALLOWED))
    try:
        expected = next_addresses(nodes[0])
        pod = nodes[0].new_pod("nameless")
        with Gate(pod) as gate, Flood(peers[0], *expected):
            pod.add()
            gate.until_open()
            assert gate.look()[DENIED] == []
        pod.delete().ok()
        pod.remove()
    finally:
        lab.erase("all.json")


# ---- changes ----

def test_change_of_policies_lets_nothing_slip(lab, nodes, peers, web):
    """The policy is written anew, others come and go: what both states deny stays denied, what both allow is not lost."""
    with Gate(web) as gate, Flood(peers[1], web.v4, web.v6), Flood(peers[0], web.v4):
        gate.until_open()
        for i in range(30):
            extra = [{"from": [{"ipBlock": {"cidr": "198.51.100.%d/32" % i}}]}] * (i % 3)
            lab.write("web.json", [labelled("web"), policy("web", policyTypes=["Ingress"], ingress=ONLY_ALLOWED + extra)] +
                      [policy("more-%d" % j, policyTypes=["Ingress"]) for j in range(i % 4)])
            turn(nodes[0], 2)
        gate.until_open()
        assert gate.look()[DENIED] == []
        came = sorted(gate.sent[ALLOWED])
    assert max(b - a for a, b in zip(came, came[1:])) < 0.2


RUSH = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect((sys.argv[1], int(sys.argv[2])))
    while True:
        try:
            s.send(b"r")
        except OSError:
            pass        # nobody listens
"""


@pytest.mark.parametrize("direction, rule", [("ingress", "from"), ("egress", "to")])
def test_packet_under_way_while_a_batch_is_committed_is_denied(lab, nodes, peers, web, direction, rule):
    """The kernel reads rules as they were when a packet came, but elements as they are now: these may lead to chains that it
    finds empty.  Of a hundred thousand packets a second some are at that point in each change."""
    local, target = peers[0], web if direction == "ingress" else peers[1]
    door = target.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind((target.v4, DENIED))
    door.settimeout(0.2)
    lab.write("rush.json", [labelled("peer-0", "rush")])
    with door, subprocess.Popen(local.argv(sys.executable, "-c", RUSH, target.v4, str(DENIED)), preexec_fn=die_with_parent) as rush:
        changes, end = 0, None
        while end is None or time.monotonic() < end:
            changes += 1
            peer = [{"podSelector": {"matchLabels": {"nobody": "n%d" % changes}}}]
            spec = {"podSelector": {"matchLabels": {"app": "web" if direction == "ingress" else "rush"}},
                    "policyTypes": [direction.capitalize()],
                    direction: [{rule: peer, "ports": [{"protocol": "UDP", "port": DENIED}]}]}
            lab.write("rush.json", [labelled("peer-0", "rush"), policy("rush", **spec)])
            if end is None:
                turn(nodes[0])
                with pytest.raises(TimeoutError):     # it was let out until then
                    while door.recv(1):
                        pass
                end = time.monotonic() + 2
            time.sleep(0.004)
        rush.kill()
        lab.erase("rush.json")
        turn(nodes[0])
        with pytest.raises(TimeoutError):
            door.recv(1)
    assert changes > 50


class Flow:
    """A TCP connection, kept."""

    def __init__(self, source, target, port):
        self.door, self.here = target.socket(socket.AF_INET, socket.SOCK_STREAM), source.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.door.bind((target.v4, port))
        self.door.listen(1)
        self.here.settimeout(2)
        self.here.connect((target.v4, port))
        self.there, _ = self.door.accept()
        self.there.settimeout(2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in (self.door, self.here, self.there):
            s.close()

    def works(self):
        self.here.sendall(b"ping")
        assert self.there.recv(4) == b"ping"
        self.there.sendall(b"pong")
        return self.here.recv(4) == b"pong"


def test_established_flow_survives_a_policy_that_denies_it(lab, nodes, peers):
    target = nodes[0].pod("open")
    try:
        for peer in peers:
            with Flow(peer, target, 8080) as flow:
                assert flow.works()
                lab.write("open.json", [labelled("open", "open"),
                                        policy("open", podSelector={"matchLabels": {"app": "open"}}, policyTypes=["Ingress", "Egress"])])
                for node in nodes:
                    turn(node)
                assert flow.works()
                assert not tcp(peer, target.v4, target, timeout=0.3)
                lab.erase("open.json")
                for node in nodes:
                    turn(node)
                assert tcp(peer, target.v4, target)
    finally:
        target.delete().ok()


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_error_that_belongs_to_an_allowed_flow_comes_through(lab, nodes, peers, family):
    """To a pod that lets nobody in: it asks for a port where nobody listens, and is told so."""
    lab.write("asker.json", [labelled("asker", "asker"),
                             policy("asker", podSelector={"matchLabels": {"app": "asker"}}, policyTypes=["Ingress"])])
    pod = nodes[0].pod("asker")
    try:
        for peer in peers:
            with pod.socket(socket.AF_INET if family == "v4" else socket.AF_INET6, socket.SOCK_DGRAM) as s:
                s.settimeout(2)
                s.connect((getattr(peer, family), 9999))
                s.send(b"anybody?")
                with pytest.raises(ConnectionRefusedError):
                    s.recv(1)
    finally:
        lab.erase("asker.json")
        pod.delete().ok()
        pod.remove()


# ---- agents that end and start ----

@pytest.mark.parametrize("owner", ["auto", "no"])
@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_restart_lets_nothing_pass(nodes, peers, web, signo, owner):
    nodes[0].restart(nft_owner=owner)
    try:
        with Gate(web) as gate, Flood(peers[1], web.v4, web.v6), Flood(peers[0], web.v4):
            gate.until_open()
            nodes[0].end(signo)
            gate.until_open()
            nodes[0].start()
            gate.until_open()
            assert gate.look()[DENIED] == []
    finally:
        nodes[0].restart(nft_owner="auto")


def test_upgrade_lets_nothing_pass(nodes, peers, web):
    """Rules that are the same, but carry no version: an older manx's table, which is replaced whole."""
    node = nodes[0]
    with Gate(web) as gate, Flood(peers[1], web.v4, web.v6), Flood(peers[0], web.v4):
        gate.until_open()
        node.end()
        old = re.sub(r"\tflags .*\n", "", node.run("nft", "list", "table", "inet", "manx").stdout)
        node.run("nft", "-f", "-", input="delete table inet manx\n" + old)
        gate.until_open()
        node.start()
        gate.until_open()
        assert gate.look()[DENIED] == []


# ---- other programs ----

def test_flush_of_an_owned_table_lets_nothing_pass(nodes, peers, web):
    if "flags owner" not in nodes[0].run("nft", "list", "table", "inet", "manx").stdout:
        pytest.skip("this kernel has no tables that are owned and persist")
    with Gate(web) as gate, Flood(peers[1], web.v4, web.v6), Flood(peers[0], web.v4):
        gate.until_open()
        for _ in range(10):
            nodes[0].run("nft", "flush", "ruleset")
        gate.until_open()
        assert gate.look()[DENIED] == []


def test_flush_of_a_table_that_is_not_owned_is_repaired_in_time(nodes, peers, web):
    nodes[0].restart(nft_owner="no")
    try:
        with Gate(web) as gate, Flood(peers[1], web.v4, web.v6), Flood(peers[0], web.v4):
            gate.until_open()
            assert gate.look()[DENIED] == []
            for _ in range(3):
                gate.sent[DENIED].clear()
                nodes[0].run("nft", "flush", "ruleset")
                flushed = time.monotonic()
                time.sleep(REPAIR_S + 0.2)
                gate.until_open()
                assert [t - flushed for t in gate.look()[DENIED] if t > flushed + REPAIR_S] == []
    finally:
        nodes[0].restart(nft_owner="auto")

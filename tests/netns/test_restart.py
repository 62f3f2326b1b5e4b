"""An agent that ends, however it ends: traffic goes on, and the next one takes over what is there."""
import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

from lab import die_with_parent, ping, udp, wait_for
from stream import Stream

RESTARTS, ALLOWED, DENIED = 50, 7001, 7002


@pytest.fixture(scope="module")
def pair(lab):
    one, two = lab.node().start(), lab.node().start()
    web, db = one.pod("web-0"), two.pod("db-0")
    for family in ("v4", "v6"):
        wait_for("traffic across nodes", lambda: ping(web, getattr(db, family)))
    return web, db


class Monitor:
    """What the kernel says of links, addresses and routes meanwhile."""

    def __init__(self, node):
        self.process = subprocess.Popen(node.argv("ip", "-o", "monitor", "link", "address", "route"), text=True,
                                        stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        time.sleep(0.1)

    def lines(self):
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=10)
        return out.splitlines()


POLICY = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "one-port", "namespace": "default"},
          "spec": {"podSelector": {}, "policyTypes": ["Ingress"],
                   "ingress": [{"ports": [{"protocol": "UDP", "port": ALLOWED}, {"protocol": "TCP"}]}]}}


def test_no_packet_is_lost_nor_let_through_when_agents_end_and_start(pair):
    """5,000 packets a second across nodes; of one-way UDP each meets the rules anew.  The table changes owners, too."""
    web, db = pair
    with Stream.udp(web, db, port=DENIED, rate=100) as before:
        time.sleep(0.2)
    assert before.got == before.sent > 0, "without a policy it comes through"
    web.node.lab.write("policy.json", POLICY)
    wait_for("the policy is there", lambda: not udp(web, db.v4, db) and not udp(web, db.v6, db))
    with Stream.udp(web, db, port=ALLOWED) as four, Stream.udp(web, db, "v6", ALLOWED, rate=500) as six, \
            Stream.udp(web, db, port=DENIED) as denied, Stream.udp(web, db, "v6", DENIED, rate=500) as denied6:
        for i in range(RESTARTS):
            node, signo = (db, web)[i % 2].node, (signal.SIGTERM, signal.SIGKILL)[i // 2 % 2]
            node.end(signo)
            time.sleep(0.1)
            node.start(nft_owner=("auto", "no")[i // 4 % 2])
    web.node.lab.erase("policy.json")
    for s in (four, six, denied, denied6):
        print("%d sent, %.0f a second, %d came" % (s.sent, s.sent / s.seconds, s.got))
    assert min(four.sent, denied.sent) > 1500 * four.seconds, "too few"
    assert four.got == four.sent and six.got == six.sent, (four.lost, six.lost)
    assert denied.got == denied6.got == 0


def test_restart_changes_nothing_in_the_kernel(pair):
    node = pair[0].node
    watch = Monitor(node)
    links = {name: link["ifindex"] for name, link in node.links().items()}
    node.kill()
    node.start()
    time.sleep(0.3)
    lines = [line for line in watch.lines() if "fe80::/64" not in line and "NEIGH" not in line]
    assert not [line for line in lines if "Deleted" in line or "proto 17" in line], lines
    assert links == {name: link["ifindex"] for name, link in node.links().items()}


def test_restarted_agent_counts_its_pods(pair):
    node = pair[0].node
    node.restart(signal.SIGKILL)
    assert node.show("status")["cni"]["pods"] == 1


def test_pod_that_died_meanwhile_is_cleaned_up_by_its_del(pair):
    node = pair[0].node
    pod = node.pod("dies")
    used = node.show("status")["ipam"]["used"]
    node.kill()
    pod.remove()
    wait_for("the link died with its namespace", lambda: pod.host_if not in node.links())
    node.start()
    pod.delete().ok()
    assert pod.v4 not in node.routes(4) and pod.v6 not in node.routes(6)
    assert node.show("status")["ipam"]["used"] == used - 2


def test_blocks_that_changed_meanwhile_are_routed_at_the_start(pair):
    web, db = pair
    web.node.kill()
    others = [db.node.pod("new-%d" % i) for i in range(70)]
    web.node.start()
    last = others[-1]
    wait_for("the new block is routed", lambda: ping(web, last.v4), timeout=3)
    wait_for("the new IPv6 block is routed", lambda: ping(web, last.v6), timeout=3)
    calls = [p.start_delete() for p in others]
    for call in calls:
        call.finish().ok()
    for pod in others:
        pod.remove()


def test_sigterm_ends_with_0_and_leaves_the_data_path(pair):
    web, db = pair
    assert web.node.end() == 0
    assert ping(web, db.v4) and ping(web, db.v6)
    web.node.start()


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_descriptor_left_is_waited_out_and_pods_live(own_lab):
    """Connections beyond the limit wait, cost no time, and are served once others end."""
    node = own_lab.node().start(encapsulation="none", wrap=("prlimit", "--nofile=100:100"))
    pod = node.pod("p")
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            s = stack.enter_context(socket.socket(socket.AF_UNIX))
            s.connect(node.socket_path)
        wait_for("the agent says so", lambda: "no descriptor for another connection" in node.log())
        before = cpu_seconds(node.process.pid)
        time.sleep(1)
        assert cpu_seconds(node.process.pid) - before < 0.3
        assert ping(node, pod.v4)
    assert node.show("status")["ready"]
    pod.delete().ok()


def test_descriptor_limit_is_raised_as_far_as_it_may(own_lab):
    node = own_lab.node().start(wrap=("prlimit", "--nofile=100:2000"))
    limits = pathlib.Path("/proc/%d/limits" % node.process.pid).read_text()
    assert re.search(r"Max open files +2000 +2000", limits)

"""The table inet manx: masquerading, who may change it, what is repaired, what a restart leaves alone."""
import contextlib
import json
import signal
import socket
import subprocess
import time

import pytest

from lab import POOLS, die_with_parent, ping, udp, wait_for

FAMILIES = pytest.mark.parametrize("family", ["v4", "v6"])
REPAIR_S = 0.25


@pytest.fixture(scope="module")
def nodes(lab):
    return lab.node().start(encapsulation="vxlan"), lab.node().start()


@pytest.fixture(scope="module")
def pods(nodes):
    web, mate, db = nodes[0].pod("web-0"), nodes[0].pod("mate-0"), nodes[1].pod("db-0")
    for family in ("v4", "v6"):
        wait_for("traffic across nodes", lambda: ping(web, getattr(db, family)))
    return web, mate, db


@pytest.fixture(scope="module")
def outside(lab, nodes):
    """A machine that is no node; it knows the way to the pods, so that only masquerading hides them."""
    space = lab.namespace("outside")
    lab.fabric.batch("link add p9 type veth peer name eth0 netns %s" % space.path, "link set p9 master br0 up")
    space.batch("addr add 192.0.2.99/24 dev eth0", "addr add 2001:db8::99/64 dev eth0 nodad", "link set eth0 up",
                "route add %s via 192.0.2.11" % POOLS[0], "route add %s via 2001:db8::11" % POOLS[1])
    space.v4, space.v6 = "192.0.2.99", "2001:db8::99"
    for address in (space.v4, space.v6):
        wait_for("the bridge's new port forwards", lambda: ping(nodes[0], address))
    return space


def table(node):
    """Our table as nft prints it, or "", without its owner; lines sorted, since a new set's elements come in another order."""
    lines = node.run("nft", "list", "table", "inet", "manx", check=False).stdout.splitlines()
    plain = (line.split("#")[0].strip().replace("elements = { ", "").rstrip(" },") for line in lines)
    return "\n".join(sorted(line for line in plain if line and not line.startswith("flags")))


def is_owned(node):
    return "flags owner" in node.run("nft", "list", "table", "inet", "manx").stdout


def elements(node, name):
    """Addresses in a set (the last part of each element)."""
    out = json.loads(node.run("nft", "-j", "list", "set", "inet", "manx", name).stdout)
    elem = next(o["set"] for o in out["nftables"] if "set" in o).get("elem", [])
    return {e["concat"][-1] if isinstance(e, dict) else e for e in elem}


# ---- masquerading ----

@FAMILIES
def test_pod_goes_out_by_its_nodes_address(pods, outside, family):
    web, _, _ = pods
    assert udp(web, getattr(outside, family), outside) == getattr(web.node, family)


@FAMILIES
def test_pods_see_each_others_addresses(pods, family):
    web, mate, db = pods
    for source, target in ((web, mate), (web, db), (db, web)):
        assert udp(source, getattr(target, family), target) == getattr(source, family)


@FAMILIES
def test_outside_reaches_pods_by_its_own_address(pods, outside, family):
    web, _, _ = pods
    assert udp(outside, getattr(web, family), web) == getattr(outside, family)


@FAMILIES
def test_host_that_chose_its_uplinks_address_is_answered_through_the_tunnel(pods, family):
    """As a Service's translation does: the address is chosen before the way is."""
    web, _, db = pods
    node, kind = web.node, socket.AF_INET if family == "v4" else socket.AF_INET6
    with db.socket(kind, socket.SOCK_DGRAM) as there, node.socket(kind, socket.SOCK_DGRAM) as here:
        there.bind((getattr(db, family), 0))
        here.bind((getattr(node, family), 0))
        for s in (there, here):
            s.settimeout(1)
        here.sendto(b"ping", there.getsockname()[:2])
        _, peer = there.recvfrom(4)
        device = "vxlan.calico" if family == "v4" else "vxlan-v6.calico"
        own = {a["local"] for row in node.ip("addr show dev %s" % device) for a in row["addr_info"]}
        assert peer[0] in own
        there.sendto(b"pong", peer)
        assert here.recvfrom(4)[0] == b"pong"


def pool(lab, name, **spec):
    """The pool that the agents made, changed by a user's file."""
    made = json.loads(next((lab.store / ".manx" / "ippools").glob("**/%s.json" % name)).read_text())
    return {"apiVersion": made["apiVersion"], "kind": "IPPool", "metadata": {"name": name},
            "spec": {**made["spec"], **spec}}


@FAMILIES
def test_nat_outgoing_is_edited_while_running(lab, pods, outside, family):
    web, _, _ = pods
    name = "default-ip%s-ippool" % family
    lab.write("pool.json", pool(lab, name, natOutgoing=False))
    try:
        wait_for("the pod goes out by its own address",
                 lambda: udp(web, getattr(outside, family), outside) == getattr(web, family), timeout=2)
    finally:
        lab.erase("pool.json")
    wait_for("the pod goes out by its node's address",
             lambda: udp(web, getattr(outside, family), outside) == getattr(web.node, family), timeout=2)


def test_address_of_another_pool_is_not_masqueraded(lab, pods, outside):
    """A pool that only says "these are pods", though no node has any of it."""
    web, _, _ = pods
    lab.write("pool.json", {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": "outside"},
                            "spec": {"cidr": "192.0.2.96/28", "blockSize": 28, "disabled": True}})
    try:
        wait_for("the pod goes there by its own address", lambda: udp(web, outside.v4, outside) == web.v4, timeout=2)
    finally:
        lab.erase("pool.json")


# ---- the table ----

def test_nft_prints_the_table_with_names(pods):
    text = table(pods[0].node)
    for line in ("type iface_index . ipv4_addr", '"%s" . %s' % (pods[0].host_if, pods[0].v4),
                 'iifname "cali*" goto from-pod', "iif . ip saddr != @pods-4 drop", "ip saddr @nodes-4 accept",
                 "ip6 saddr fe80::/10 icmpv6 type @neighbour-types accept", "udp dport 4789 goto to-tunnel",
                 "ip daddr 10.42.0.0/16 return", "masquerade fully-random"):
        assert line in text, text


def test_sets_follow_pods_and_nodes(lab, nodes, pods):
    one, two = nodes
    web, mate, db = pods
    assert elements(one, "pods-4") == {web.v4, mate.v4} and elements(one, "pods-6") == {web.v6, mate.v6}
    assert elements(two, "pods-4") == {db.v4} and elements(one, "nodes-4") == {two.v4}
    third = lab.node().start()
    wait_for("the third node may send into the tunnel", lambda: elements(one, "nodes-6") == {two.v6, third.v6})
    pod = third.pod("late")
    assert elements(third, "pods-4") == {pod.v4}
    pod.delete().ok()
    assert elements(third, "pods-4") == elements(third, "pods-6") == set()
    pod.remove()


def test_status_counts_what_the_kernel_has(pods):
    node = pods[0].node
    lines = table(node).splitlines()
    policy = node.show("status")["policy"]
    assert policy["sets"] == sum(line.startswith(("set ", "map ")) for line in lines)
    assert policy["elements"] >= 2 * 2 + 2 + 6
    assert policy["rules"] > 20


def test_table_without_a_tunnel_or_nat_is_small(own_lab):
    node = own_lab.node().start(encapsulation="none", nat_outgoing="no")
    node.pod("alone")
    text = table(node)
    for word in ("masquerade", "hook postrouting", "vxlan"):
        assert word not in text
    assert elements(node, "nodes-4") == set()


# ---- owned by the agent, where the kernel can ----

@pytest.fixture(scope="module")
def owned(nodes):
    if not is_owned(nodes[0]):
        pytest.skip("this kernel has no tables that are owned and persist")
    return nodes[0]


def test_nobody_else_can_change_an_owned_table(owned, pods):
    before = table(owned)
    for command in ("delete table inet manx", "flush table inet manx", "add rule inet manx from-pod accept",
                    "add element inet manx pods-4 { 1 . 10.42.0.9 }"):
        assert owned.run("nft", *command.split(" ", 3), check=False).returncode != 0, command
    owned.run("nft", "flush", "ruleset")
    assert table(owned) == before


@pytest.mark.parametrize("signo", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_owned_table_outlives_its_agent_and_is_taken_over(owned, signo):
    before = table(owned)
    owned.end(signo)
    assert table(owned) == before and not is_owned(owned)
    owned.start()
    assert table(owned) == before and is_owned(owned)
    owned.run("nft", "flush", "ruleset")
    assert table(owned) == before


class Monitor:
    """What nft says of changes to anybody's ruleset meanwhile."""

    def __init__(self, node):
        self.process = subprocess.Popen(node.argv("nft", "monitor"), text=True, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        time.sleep(0.2)

    def lines(self):
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=10)
        return [line for line in out.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("owner", ["auto", "no"])
def test_restart_changes_no_rule(nodes, pods, owner):
    node = nodes[1]
    node.restart(nft_owner=owner)
    try:
        monitor = Monitor(node)
        node.restart()
        time.sleep(0.1)
        assert [line for line in monitor.lines() if "add table" not in line] == []
    finally:
        node.restart(nft_owner="auto")
    assert pods[2].v4 in elements(node, "pods-4")


def test_pod_that_died_meanwhile_leaves_the_sets(nodes):
    node = nodes[1]
    pod = node.pod("dies")
    node.kill()
    pod.remove()
    wait_for("the link died with its namespace", lambda: pod.host_if not in node.links())
    assert pod.v4 in elements(node, "pods-4")
    node.start()
    assert pod.v4 not in elements(node, "pods-4") and pod.v6 not in elements(node, "pods-6")


@pytest.mark.parametrize("owner", ["auto", "no"])
@pytest.mark.parametrize("foreign", ["add table inet manx", "add table inet manx { flags dormant; }",
                                     "add table inet manx; add set inet manx pods-4 { type ipv4_addr; }; "
                                     "add chain inet manx input { type filter hook input priority 5; policy drop; }"])
def test_table_of_another_layout_is_replaced(nodes, pods, owner, foreign):
    node = nodes[1]
    before = table(node)
    node.end()
    node.run("nft", "delete table inet manx; " + foreign)
    node.start(nft_owner=owner)
    assert table(node) == before
    node.restart(nft_owner="auto")
    assert table(node) == before


# ---- watched, where it cannot be owned ----

TWIN = """table inet twin {
	set manx {
		type ipv4_addr
		elements = { 192.0.2.1 }
	}

	chain from-pod {
		ip saddr @manx accept
	}
}"""


@pytest.fixture(scope="module")
def watched(lab):
    node = lab.node().start(nft_owner="no")
    node.pod("kept")
    node.run("nft", "-f", "-", input=TWIN)
    return node


def twin(node):
    return node.run("nft", "list", "table", "inet", "twin").stdout


def repaired(node, before, since):
    wait_for("the table is as it was", lambda: table(node) == before, timeout=2, step=0.005)
    assert time.monotonic() - since < REPAIR_S + 0.05      # asking takes its time, too


@pytest.mark.parametrize("damage", [
    "delete table inet manx", "flush table inet manx", "flush chain inet manx from-pod", "flush set inet manx pods-4",
    "add rule inet manx from-pod accept", "insert rule inet manx prerouting accept", "add chain inet manx stray",
    "add set inet manx stray { type ipv4_addr; }", "add element inet manx nodes-4 { 203.0.113.9 }",
    "delete chain inet manx input", "add chain inet manx input { policy drop; }",
    "delete chain inet manx input; add chain inet manx input { type filter hook input priority 7; }",
    "flush chain inet manx to-tunnel; flush set inet manx nodes-4; delete set inet manx nodes-4; "
    "add set inet manx nodes-4 { type inet_service; }"])
def test_foreign_change_is_repaired_and_the_neighbour_left_alone(watched, damage):
    before, neighbour = table(watched), twin(watched)
    assert before and not is_owned(watched)
    since = time.monotonic()
    watched.run("nft", damage)
    repaired(watched, before, since)
    assert twin(watched) == neighbour
    assert "changed by another program" in watched.log()


def test_flush_ruleset_is_repaired(watched):
    before = table(watched)
    since = time.monotonic()
    watched.run("nft", "flush ruleset")
    repaired(watched, before, since)
    watched.run("nft", "-f", "-", input=TWIN)


def test_busy_neighbour_does_not_keep_a_pod_waiting(watched):
    """Generations move all the time: a pod's elements are in when ADD returns, nothing is disturbed."""
    busy = subprocess.Popen(watched.argv("sh", "-c", "while nft add rule inet twin from-pod drop; do :; done"),
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                            preexec_fn=die_with_parent)
    try:
        for i in range(5):
            pod = watched.pod("busy-%d" % i)
            assert pod.v4 in elements(watched, "pods-4")
            pod.delete().ok()
            assert pod.v4 not in elements(watched, "pods-4")
            pod.remove()
    finally:
        busy.terminate()
        busy.wait(5)
    wait_for("all is well", lambda: watched.show("status")["ready"])
    assert watched.show("status")["problems"] == []


def test_hostile_flusher_is_outlived(watched):
    """Flushing as fast as it can, for a second; 250 ms later the table is there, and no pod's ADD hung."""
    before = table(watched)
    hostile = subprocess.Popen(watched.argv("sh", "-c", "while nft flush table inet manx; nft delete table inet manx; do :; done"),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                               preexec_fn=die_with_parent)
    time.sleep(1)
    hostile.terminate()
    hostile.wait(5)
    repaired(watched, before, time.monotonic())


def test_rejected_table_is_told_of_and_tried_again(own_lab):
    """Somebody else owns the table: the node is not ready, and says why; then it is."""
    node = own_lab.node()
    holder = subprocess.Popen(node.argv("nft", "-i"), text=True, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
    try:
        holder.stdin.write("add table inet manx { flags owner; }\n")
        holder.stdin.flush()
        wait_for("the table is held", lambda: table(node) and is_owned(node), timeout=3)
        node.start(wait=False, nft_owner="no")
        wait_for("the agent names it", lambda: any(p["sub"] == "nft" for p in status(node).get("problems", [])))
        assert not status(node)["ready"]
    finally:
        holder.stdin.close()
        holder.wait(5)
    node.wait_ready()
    assert status(node)["problems"] == []


def test_pod_whose_rules_the_kernel_refuses_is_not_attached(watched):
    """Somebody takes the table while the agent runs: an ADD says so by its code, and leaves nothing."""
    pod = watched.new_pod("ruleless")
    holder = subprocess.Popen(watched.argv("nft", "-i"), text=True, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
    try:
        holder.stdin.write("delete table inet manx; add table inet manx { flags owner; }\n")
        holder.stdin.flush()
        wait_for("the agent is refused", lambda: any(p["sub"] == "nft" for p in status(watched)["problems"]))
        pod.start_add().finish().refused(105, "Operation not permitted")
        assert status(watched)["cni"]["pods"] == 1         # the other one
    finally:
        holder.stdin.close()
        holder.wait(5)
    wait_for("the agent has its table", lambda: status(watched)["problems"] == [])
    pod.add()


def status(node):
    answer = node.manx("status", "-o", "json", check=False)
    with contextlib.suppress(ValueError):
        return json.loads(answer.stdout)
    return {}

"""An uplink that changes under a running agent: address, default route, name, link, MTU; forwarding; router advertisements."""
import fcntl
import socket
import struct
import time

import pytest

import packets
from lab import ping, wait_for

SOON = 1.0      # seconds: the agent waits 50 ms for the last of several events


def second_uplink(lab, node, subnet=1):
    """eth1 of a node, on a wire to the router, which has .1 and the node .77."""
    four, six, port = lab.subnet_v4(subnet), lab.subnet_v6(subnet), "second-%d" % node.number
    lab.fabric.batch("link add %s type veth peer name eth1 netns %s" % (port, node.path),
                     "addr add %s.1/24 dev %s" % (four, port), "addr add %s:1/64 dev %s nodad" % (six, port),
                     "link set %s up" % port)
    node.batch("addr add %s.77/24 dev eth1" % four, "addr add %s:77/64 dev eth1 nodad" % six, "link set eth1 up")
    return ["%s.77/24" % four, "%s:77/64" % six]


def notes(lab, node):
    return lab.objects("nodes")[node.name]["metadata"]["annotations"]


def published(lab, node):
    return [notes(lab, node).get("projectcalico.org/IPv%dAddress" % f) for f in (4, 6)]


def follows(lab, node, addresses):
    """The node goes by these addresses, and says so."""
    wait_for("status has %s" % addresses, lambda: node.show("status")["addresses"] == addresses, SOON)
    wait_for("the Node object has %s" % addresses, lambda: published(lab, node) == addresses, SOON)


# --- the cluster follows --------------------------------------------------------------------------

@pytest.fixture
def pair(own_lab):
    """Two nodes with pods; the first has a second uplink, without a default route."""
    one, two = own_lab.node(), own_lab.node()
    second_uplink(own_lab, one)
    one.start(encapsulation="vxlan")
    two.start(encapsulation="vxlan")
    pods = one.pod("web-0"), two.pod("db-0")
    reaches(*pods)
    return one, two, pods


def reaches(*pods):
    for source, target in (pods, pods[::-1]):
        for family in ("v4", "v6"):
            wait_for("traffic across nodes", lambda: ping(source, getattr(target, family)), timeout=3)


FIRST, SECOND = ["192.0.2.11/24", "2001:db8::11/64"], ["198.51.100.77/24", "2001:db8:1::77/64"]


def test_default_route_that_moves_takes_the_node_with_it(own_lab, pair):
    """Address, tunnel's end, other nodes' entries and closed sets."""
    one, two, pods = pair
    assert one.show("status")["addresses"] == FIRST
    one.batch("route replace 0.0.0.0/0 via 198.51.100.1 dev eth1", "route del ::/0",
              "route add ::/0 via 2001:db8:1::1 dev eth1")
    follows(own_lab, one, SECOND)
    assert one.links()["vxlan.calico"]["linkinfo"]["info_data"]["local"] == "198.51.100.77"
    assert one.links()["vxlan-v6.calico"]["linkinfo"]["info_data"]["local6"] == "2001:db8:1::77"
    for device, address in ("vxlan.calico", "198.51.100.77"), ("vxlan-v6.calico", "2001:db8:1::77"):
        wait_for("the other node's entry", lambda: address in two.run("bridge", "fdb", "show", "dev", device).stdout, SOON)
    rules = wait_for("the other node's closed set", lambda: in_sets(two, SECOND), SOON)
    assert "192.0.2.11" not in rules and "2001:db8::11" not in rules
    reaches(*pods)
    one.batch("route replace 0.0.0.0/0 via 192.0.2.1 dev eth0", "route del ::/0", "route add ::/0 via 2001:db8::1 dev eth0")
    follows(own_lab, one, FIRST)
    reaches(*pods)


def in_sets(node, addresses):
    rules = node.run("nft", "list", "table", "inet", "manx").stdout
    return all(a.split("/")[0] in rules for a in addresses) and rules


def test_routes_of_other_nodes_follow_an_address(own_lab):
    one, two = own_lab.node().start(encapsulation="none"), own_lab.node().start(encapsulation="none")
    pods = one.pod("web-0"), two.pod("db-0")
    reaches(*pods)
    one.batch("addr del 192.0.2.11/24 dev eth0", "addr add 192.0.2.200/24 dev eth0", "route replace 0.0.0.0/0 via 192.0.2.1")
    wait_for("the new next hop", lambda: "192.0.2.200" in [r.get("gateway") for r in two.routes(4, 172).values()], SOON)
    assert "192.0.2.11" not in [r.get("gateway") for r in two.routes(4, 172).values()]
    reaches(*pods)


def test_link_that_goes_down_gives_way_to_the_other_and_comes_back(own_lab, pair):
    one, _, pods = pair
    one.batch("route add 0.0.0.0/0 via 198.51.100.1 dev eth1 metric 500", "route add ::/0 via 2001:db8:1::1 dev eth1 metric 5000",
              "link set eth0 down")
    follows(own_lab, one, SECOND)
    reaches(*pods)
    one.batch("link set eth0 up", "route add 0.0.0.0/0 via 192.0.2.1", "addr replace 2001:db8::11/64 dev eth0 nodad",
              "route add ::/0 via 2001:db8::1")
    follows(own_lab, one, FIRST)
    reaches(*pods)


# --- forms of node_address ------------------------------------------------------------------------

@pytest.fixture
def node(own_lab):
    node = own_lab.node("edge-07")
    second_uplink(own_lab, node)
    return node


def test_interface_that_is_renamed(own_lab, node):
    node.start(encapsulation="none", node_address="interface eth0")
    follows(own_lab, node, FIRST)
    node.batch("link set eth0 down", "link set eth0 name wan0", "link set eth1 down", "link set eth1 name eth0",
               "link set eth0 up", "addr replace 2001:db8:1::77/64 dev eth0 nodad")
    follows(own_lab, node, SECOND)


def test_interface_that_comes_later(own_lab, node):
    node.batch("link set eth1 down", "link set eth1 name wan0")
    node.start(wait=False, encapsulation="none", node_address="interface wan1")
    wait_for("it says so", lambda: "no address found" in node.manx("status", "-o", "json", check=False).stdout)
    node.batch("link set wan0 name wan1")
    wait_for("the address", lambda: node.show("status")["addresses"] == SECOND[:1], SOON)   # down: no IPv6 address
    node.wait_ready()


def test_source_towards_an_address_follows_its_route(own_lab, node):
    node.start(encapsulation="none", node_address="reach 203.0.113.9")
    follows(own_lab, node, FIRST)
    node.batch("route add 203.0.113.0/24 via 198.51.100.1")
    follows(own_lab, node, SECOND)
    node.batch("route del 203.0.113.0/24")
    follows(own_lab, node, FIRST)


def test_metric_of_default_routes_decides(own_lab, node):
    node.batch("route replace 0.0.0.0/0 via 192.0.2.1 metric 100")
    node.run("ip", "route", "del", "default", "metric", "0", check=False)
    node.start(encapsulation="none")
    assert node.show("status")["addresses"] == FIRST
    node.batch("route add 0.0.0.0/0 via 198.51.100.1 metric 50", "route add ::/0 via 2001:db8:1::1 metric 50")
    follows(own_lab, node, SECOND)
    node.batch("route del 0.0.0.0/0 metric 50", "route del ::/0 via 2001:db8:1::1 metric 50")
    follows(own_lab, node, FIRST)


def test_pods_do_not_make_the_agent_look_for_its_address(own_lab, node, tmp_path):
    """Dozens of events each, none of which reaches it."""
    node.start(encapsulation="none")
    pods = [node.new_pod("quiet-%d" % i) for i in range(3)]
    time.sleep(0.3)
    with node.traced("-o", str(tmp_path / "trace"), "-e", "sendto,sendmsg"):
        for pod in pods:
            pod.add()
        for pod in pods:
            pod.delete().ok()
        time.sleep(0.8)
    said = (tmp_path / "trace").read_text()
    assert "nlmsg_type=0x18" in said       # RTM_NEWROUTE; strace does not know whose numbers these are
    assert "nlmsg_type=0x16" not in said   # RTM_GETADDR


# --- MTU ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["netlink", "ioctl"])
@pytest.mark.parametrize("mode", ["vxlan", "none"])
def test_mtu_follows_the_uplink(own_lab, mode, how):
    node = own_lab.node().start(encapsulation=mode)
    less = {"vxlan": {"vxlan.calico": 50, "vxlan-v6.calico": 70}, "none": {}}[mode]
    old = node.pod("old")
    for mtu in (1400, 1500, 1450):
        if how == "netlink":
            node.batch("link set eth0 mtu %d" % mtu)
        else:
            set_by_ioctl(node, mtu)
        for device, overhead in less.items():
            wait_for("MTU of %s" % device, lambda: node.links()[device]["mtu"] == mtu - overhead, SOON)
        want = mtu - max(less.values(), default=0)
        if mode == "none":
            wait_for("the agent has seen it", lambda: "mtu %d" % mtu in node.log().splitlines()[-1], SOON)
        pod = node.pod("mtu-%d" % mtu)
        assert pod.links()["eth0"]["mtu"] == node.links()[pod.host_if]["mtu"] == want
        assert pod.result.json["interfaces"][1].get("mtu", want) == want
    assert old.links()["eth0"]["mtu"] == 1500 - max(less.values(), default=0)   # a pod keeps what it was given


def set_by_ioctl(node, mtu):
    """As ifconfig does."""
    with node.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8922, struct.pack("16si12x", b"eth0", mtu))      # SIOCSIFMTU


# --- forwarding and router advertisements ---------------------------------------------------------

FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}


def advertisement(lifetime=600):
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xc0, 3600, 1800, 0) + packets.packed("2001:db8:77::")
    body = struct.pack("!BBHII", 64, 0, lifetime, 0, 0) + prefix
    return packets.ip("fe80::77", "ff02::1", packets.ICMPV6, packets.icmp(134, body), hops=255)


def learned(node):
    return [r for r in node.ip("-6 -N -d route show default") if str(r.get("protocol")) == "9"]


def test_default_route_of_a_router_advertisement_outlives_forwarding(own_lab):
    node = own_lab.node()
    node.batch("route del ::/0", "addr del 2001:db8::11/64 dev eth0")
    node.sysctl({"net/ipv6/conf/eth0/accept_ra": 1, "net/ipv6/conf/eth0/autoconf": 1})
    multicast = bytes.fromhex("333300000001")

    def advertise():
        packets.send(own_lab.fabric, advertisement(), device="br0", mac=multicast)
        return learned(node)

    route, = wait_for("a route is learned", advertise, step=0.1)
    address = wait_for("an address, too", lambda: [a["local"] for a in node.ip("-6 addr show dev eth0")[0]["addr_info"]
                                                   if a["local"].startswith("2001:db8:77:")])[0]
    assert node.sysctl_get(FORWARDING[6]) == "0"
    node.start(encapsulation="vxlan")
    assert node.sysctl_get(FORWARDING[6]) == "1"
    assert [r["gateway"] for r in learned(node)] == [route["gateway"]] == ["fe80::77"]
    assert node.sysctl_get("net/ipv6/conf/eth0/accept_ra") == "2"
    assert address + "/64" in node.show("status")["addresses"]
    node.run("ip", "-6", "route", "del", "default")
    wait_for("the next advertisement is heeded as well", advertise, step=0.1)


def test_forwarding_that_was_on_is_not_touched(own_lab):
    """Nor is accept_ra then: whoever turned it on has seen to that."""
    node = own_lab.node()
    node.sysctl({FORWARDING[4]: 1, FORWARDING[6]: 1, "net/ipv6/conf/eth0/accept_ra": 1})
    node.start(encapsulation="none")
    assert node.sysctl_get("net/ipv6/conf/eth0/accept_ra") == "1"
    assert "forwarding turned on" not in node.log()

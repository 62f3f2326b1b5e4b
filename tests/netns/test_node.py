"""Which address a node has, and what it writes about itself."""
import pytest

from lab import wait_for
from objects import compare


@pytest.fixture(scope="module")
def node(lab):
    """Two uplinks: eth0 with the default routes; eth1 without; docker0, which is never one."""
    node = lab.node("edge-07")
    lines = []
    for name, v4, v6 in (("docker0", "172.17.0.1/16", "fd00:17::1/64"), ("eth1", "198.51.100.7/24", "2001:db8:9::7/64")):
        lines += ["link add %s type veth peer name peer-%s" % (name, name), "link set peer-%s up" % name,
                  "addr add %s dev %s" % (v4, name), "addr add %s dev %s nodad" % (v6, name), "link set %s up" % name]
    node.batch(*lines)
    return node.start(encapsulation="none")


ETH0 = ["192.0.2.11/24", "2001:db8::11/64"]
ETH1 = ["198.51.100.7/24", "2001:db8:9::7/64"]

FORMS = [
    ("auto", ETH0),
    ("192.0.2.11/24,2001:db8::11/64", ETH0),
    ("198.51.100.7/24", ETH1[:1]),
    ("interface eth1", ETH1),
    ("cidr 198.51.100.0/24", ETH1[:1]),
    ("cidr 2001:db8:9::/64", ETH1[1:]),
    ("reach 198.51.100.99", ETH1[:1]),
    ("reach 203.0.113.1", ETH0[:1]),
    ("reach 2001:db8:9::99", ETH1[1:]),
]


@pytest.mark.parametrize("form,want", FORMS, ids=[f[0].replace("/", "_") for f in FORMS])
def test_address_is_found_by_every_form(node, form, want):
    node.restart(node_address=form)
    found = node.show("status")["addresses"]
    assert [a for a in want if a in found] == want
    notes = node.lab.objects("nodes")["edge-07"]["metadata"]["annotations"]
    for key, address in zip(("IPv4Address", "IPv6Address"), ETH0):
        mine = [a for a in want if (":" in a) == (":" in address)]
        if mine:
            assert notes["projectcalico.org/" + key] == mine[0]


def test_address_without_a_default_route_is_the_first_usable_links(node):
    """docker0 has the lower index and is skipped; eth0's 169.254 address is not taken."""
    node.end()
    node.batch("route del default", "route del ::/0", "addr del 192.0.2.11/24 dev eth0",
               "addr add 169.254.7.7/16 dev eth0", "addr del 2001:db8::11/64 dev eth0")
    try:
        node.start(node_address="auto")
        assert node.show("status")["addresses"] == ETH1
    finally:
        node.end()
        node.batch("addr del 169.254.7.7/16 dev eth0", "addr add 192.0.2.11/24 dev eth0",
                   "addr add 2001:db8::11/64 dev eth0 nodad", "route add 0.0.0.0/0 via 192.0.2.1", "route add ::/0 via 2001:db8::1")
        node.start()


def test_address_is_found_though_the_gateway_does_not_answer(node):
    node.end()
    node.lab.fabric.batch("link set br0 down")
    try:
        node.start(node_address="auto")
        assert node.show("status")["addresses"] == ETH0
    finally:
        node.lab.fabric.batch("link set br0 up")


def test_given_address_that_no_link_has_is_named_until_one_has_it(node):
    node.restart(node_address="198.51.100.8/24")

    def problems():
        return [p["text"] for p in node.show("status")["problems"]]
    try:
        assert problems() == ["no link of this node has its node_address 198.51.100.8/24"]
        assert "address 198.51.100.8/24, which no link has" in node.log()
        node.batch("addr add 198.51.100.8/24 dev eth1")
        wait_for("the problem is gone", lambda: not problems())
    finally:
        node.batch("addr del 198.51.100.8/24 dev eth1")
        node.restart(node_address="auto")


def tunnel_notes(lab):
    notes = lab.objects("nodes")["edge-07"]["metadata"]["annotations"]
    return notes if {"projectcalico.org/IPv4VXLANTunnelAddr", "projectcalico.org/IPv6VXLANTunnelAddr"} <= set(notes) else None


def test_node_object_is_calicos(own_lab):
    own_lab.node("edge-07").start(encapsulation="vxlan")
    notes = wait_for("the tunnel addresses are published", lambda: tunnel_notes(own_lab))
    tunnels = {notes["projectcalico.org/IPv4VXLANTunnelAddr"]: "<tunnel v4>",
               notes["projectcalico.org/IPv6VXLANTunnelAddr"]: "<tunnel v6>"}
    compare("node", own_lab.objects("nodes")["edge-07"], tunnels)


def test_workload_endpoint_is_published(own_lab):
    node = own_lab.node("edge-07").start(encapsulation="none")
    pod = node.pod("web-0", namespace="shop", container=32 * "d1")
    wait_for("the endpoint is written", lambda: own_lab.objects("workloadendpoints"))
    (name, endpoint), = own_lab.objects("workloadendpoints").items()
    assert name == endpoint["metadata"]["name"] == "edge--07-k8s-web--0-eth0"
    names = {pod.v4: "<v4>", pod.v6: "<v6>", pod.links()["eth0"]["address"]: "<mac>"}
    compare("workloadendpoint", endpoint, names)
    pod.delete().ok()
    wait_for("the endpoint is gone", lambda: not own_lab.objects("workloadendpoints"))


def test_new_address_is_taken_over_while_running(own_lab):
    node = own_lab.node("edge-07").start(encapsulation="none")
    node.batch("addr del 192.0.2.11/24 dev eth0", "addr add 192.0.2.99/24 dev eth0", "route add 0.0.0.0/0 via 192.0.2.1")

    def written():
        notes = own_lab.objects("nodes")["edge-07"]["metadata"]["annotations"]
        return notes["projectcalico.org/IPv4Address"] == "192.0.2.99/24"
    wait_for("the new address is published", written)

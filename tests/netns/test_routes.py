"""Routes: pods, own blocks, other nodes' blocks, with and without an overlay; what is not ours stays."""
import json

import pytest

from lab import matrix, ping, udp, wait_for


def own_blocks(node, family=4):
    rows = node.show("ipam", "show")["blocks"]
    return [b["cidr"] for b in rows if b["node"] == node.name and (":" in b["cidr"]) == (family == 6)]


def reach_all(pods, timeout=5):
    """Waits until everybody reaches everybody in both families."""
    def everybody():
        return all(matrix(pods, 4).values()) and all(matrix(pods, 6).values())
    wait_for("everybody reaches everybody", everybody, timeout)


def settled(node):
    return node.show("status")["ready"] and not node.show("status")["problems"]


class Cluster:
    def __init__(self, lab, **config):
        self.lab = lab
        self.nodes = [lab.node().start(**config) for _ in range(2)]
        self.pods = [n.pod("%s-%s" % (name, n.name)) for n in self.nodes for name in ("web", "db")]
        reach_all(self.pods)


@pytest.fixture(scope="module")
def vxlan(lab):
    return Cluster(lab, encapsulation="vxlan")


@pytest.fixture(scope="module")
def plain():
    import lab as labs
    with labs.Lab("plain") as other:
        yield Cluster(other, encapsulation="none")


# --- vxlan ----------------------------------------------------------------------------------------

def test_vxlan_device_has_calicos_name_and_numbers(vxlan):
    link = vxlan.nodes[0].links()["vxlan.calico"]
    data = link["linkinfo"]["info_data"]
    assert (data["id"], data["port"], data["learning"], data["local"]) == (4096, 4789, False, vxlan.nodes[0].v4)
    assert "UP" in link["flags"]
    assert link["mtu"] == 1450


def test_vxlan_device_of_ipv6_has_calicos_name_and_numbers(vxlan):
    link = vxlan.nodes[0].links()["vxlan-v6.calico"]
    data = link["linkinfo"]["info_data"]
    assert (data["id"], data["port"], data["local6"]) == (4096, 4789, vxlan.nodes[0].v6)
    assert link["mtu"] == 1430


@pytest.mark.parametrize("family,device", [(4, "vxlan.calico"), (6, "vxlan-v6.calico")])
def test_vxlan_routes_to_other_nodes_go_by_their_tunnel_address(vxlan, family, device):
    one, two = vxlan.nodes
    annotation = {4: "projectcalico.org/IPv4VXLANTunnelAddr", 6: "projectcalico.org/IPv6VXLANTunnelAddr"}[family]
    tunnel = vxlan.lab.objects("nodes")[two.name]["metadata"]["annotations"][annotation]
    for block in own_blocks(two, family):
        route = one.routes(family, protocol=172)[block]
        assert (route["dev"], route["gateway"], route["metric"]) == (device, tunnel, 1024)
        assert "onlink" in route["flags"]
    mine = [a["local"] for a in two.ip("addr show dev " + device)[0]["addr_info"] if a["scope"] == "global"]
    assert mine == [tunnel]


def test_routes_verb_names_blackholes_and_keeps_its_columns(vxlan):
    one = vxlan.nodes[0]
    head, *rows = one.manx("routes").stdout.splitlines()
    at = [head.index(name) for name in ("DESTINATION", "VIA", "DEVICE", "PROTOCOL", "STATE")]
    cells = [[row[a:b].strip() for a, b in zip(at, [*at[1:], None])] for row in rows]
    assert all(len(row.split()) == 5 == len([c for c in cell if c]) for row, cell in zip(rows, cells)), rows
    shown = {r["dst"]: r for r in one.show("routes")["routes"]}
    for dst, via, *_, state in cells:
        assert via == ("blackhole" if shown[dst]["type"] == "blackhole" else shown[dst]["via"] or "-"), dst
        assert state == "ok"
    for family in (4, 6):
        assert {b for b in own_blocks(one, family)} == {
            d for d, r in shown.items() if r["type"] == "blackhole" and (":" in d) == (family == 6)}


def test_vxlan_carries_the_largest_packet_a_pod_may_send(vxlan):
    web, db = vxlan.pods[0], vxlan.pods[-1]
    mtu = web.links()["eth0"]["mtu"]
    assert ping(web, db.v4, size=mtu - 28)
    assert ping(web, db.v6, size=mtu - 48)


def test_node_reaches_pods_of_other_nodes(vxlan):
    assert ping(vxlan.nodes[0], vxlan.pods[-1].v4)
    assert ping(vxlan.nodes[0], vxlan.pods[-1].v6)


def test_status_counts_the_peers(vxlan):
    view = vxlan.nodes[0].show("status")["overlay"]
    assert (view["mode"], view["device"], view["peers"], view["problem"]) == ("vxlan", "vxlan.calico", 1, "")


def test_pods_keep_their_address_within_the_cluster(vxlan):
    web, db = vxlan.pods[0], vxlan.pods[-1]
    assert udp(web, db.v4, server=db) == web.v4
    assert udp(web, db.v6, server=db) == web.v6


# --- no overlay -----------------------------------------------------------------------------------

@pytest.mark.parametrize("family", [4, 6])
def test_plain_routes_to_other_nodes_go_by_their_address(plain, family):
    one, two = plain.nodes
    for block in own_blocks(two, family):
        route = one.routes(family, protocol=172)[block]
        assert (route["dev"], route["gateway"], route["metric"]) == ("eth0", two.v4 if family == 4 else two.v6, 1024)
    assert not {"vxlan.calico", "vxlan-v6.calico"} & set(one.links())
    assert "UP" not in one.links().get("tunl0", {"flags": []})["flags"], "it comes with its module"
    assert plain.pods[0].links()["eth0"]["mtu"] == 1500


@pytest.mark.parametrize("family", [4, 6])
def test_own_blocks_are_blackholes(plain, family):
    one = plain.nodes[0]
    for block in own_blocks(one, family):
        route = one.routes(family, protocol=172)[block]
        assert (route["type"], route["metric"]) == ("6", 1024), "type 6 is blackhole"


# --- forwarding -----------------------------------------------------------------------------------

def test_forwarding_is_turned_on_and_logged(plain):
    for node in plain.nodes:
        assert node.sysctl_get("net/ipv4/ip_forward") == "1"
        assert node.sysctl_get("net/ipv6/conf/all/forwarding") == "1"
        assert "forwarding" in node.log()


def test_forwarding_of_a_family_without_a_pool_stays_off(own_lab):
    node = own_lab.node().start(pool=["10.42.0.0/16"], encapsulation="none")
    pod = node.pod("p")
    assert pod.v4 and not pod.v6
    assert node.sysctl_get("net/ipv4/ip_forward") == "1"
    assert node.sysctl_get("net/ipv6/conf/all/forwarding") == "0"


def test_forwarding_keeps_learned_default_routes_alive(own_lab):
    """accept_ra 1 becomes 2 before IPv6 forwarding is turned on."""
    node = own_lab.node()
    node.sysctl({"net/ipv6/conf/eth0/accept_ra": 1})
    node.start()
    node.pod("p")
    assert node.sysctl_get("net/ipv6/conf/all/forwarding") == "1"
    assert node.sysctl_get("net/ipv6/conf/eth0/accept_ra") == "2"


# --- what is not ours, and what somebody does to ours ---------------------------------------------

def test_foreign_routes_and_links_stay(plain):
    one = plain.nodes[0]
    one.batch("route add 10.42.250.0/26 via 192.0.2.1 proto static", "route add 10.77.0.0/16 via 192.0.2.1 metric 1024",
              "route add fd00:77::/64 via 2001:db8::1 metric 1024", "link add califoreign type veth peer name foreign1",
              "link set califoreign up")
    one.restart()
    pod = one.pod("stir")
    pod.delete().ok()
    assert one.routes(4)["10.42.250.0/26"]["protocol"] == "4"
    assert "10.77.0.0/16" in one.routes(4) and "fd00:77::/64" in one.routes(6)
    assert "califoreign" in one.links()
    one.batch("link del califoreign", "route del 10.42.250.0/26", "route del 10.77.0.0/16", "route del fd00:77::/64")


def test_foreign_route_in_the_way_is_named_and_left(plain):
    one, two = plain.nodes
    block = own_blocks(two)[0]
    one.end()
    one.batch("route del %s" % block, "route add %s via 192.0.2.1 metric 1024 proto static" % block)
    one.start()

    def named():
        view = one.show("routes")
        return block in [r["dst"] for r in view["routes"] if r["state"] == "conflict"] and \
            block in [r["dst"] for r in view["conflicts"]] and block in json.dumps(one.show("status")["problems"])
    wait_for("the conflict is named", named)
    route = one.routes(4)[block]
    assert (route["gateway"], route["protocol"]) == ("192.0.2.1", "4")
    one.batch("route del %s" % block)
    wait_for("our route takes its place", lambda: one.routes(4).get(block, {}).get("protocol") == "172")
    reach_all(plain.pods)


def test_route_that_somebody_removes_comes_back(plain):
    one, two = plain.nodes
    pod = plain.pods[0]
    for family, dst in ((4, own_blocks(two)[0]), (6, own_blocks(two, 6)[0]), (4, own_blocks(one)[0]), (4, pod.v4), (6, pod.v6)):
        kind = "blackhole " if dst in own_blocks(one, family) else ""
        one.batch("route del %s%s metric 1024" % (kind, dst))
        wait_for("%s is back" % dst, lambda: dst in one.routes(family), timeout=2)
    reach_all(plain.pods)


def test_route_that_somebody_changes_is_repaired(plain):
    one, two = plain.nodes
    block = own_blocks(two)[0]
    one.batch("route change %s via 192.0.2.1 metric 1024 proto 172" % block)
    wait_for("the gateway is right again", lambda: one.routes(4)[block].get("gateway") == two.v4, timeout=2)


def test_vxlan_device_that_somebody_removes_comes_back(vxlan):
    one = vxlan.nodes[0]
    one.batch("link del vxlan.calico")
    wait_for("the device is back", lambda: "vxlan.calico" in one.links(), timeout=3)
    reach_all(vxlan.pods)


def test_show_lists_every_route(plain):
    view = plain.nodes[0].show("routes")
    one, two = plain.nodes
    shown = {r["dst"]: r for r in view["routes"]}
    for family in (4, 6):
        for block in own_blocks(two, family) + own_blocks(one, family):
            assert shown[block]["state"] == "ok"
    for pod in plain.pods[:2]:
        assert shown[pod.v4 + "/32"]["state"] == "ok" and shown[pod.v6 + "/128"]["state"] == "ok"


# --- pools change ---------------------------------------------------------------------------------

def pool(name, cidr, **spec):
    return {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": name},
            "spec": {"cidr": cidr, "blockSize": 26, "natOutgoing": True, **spec}}


def test_pool_that_loses_its_overlay_changes_the_routes(own_lab):
    """A user's file hides the default pool that the agent wrote, and shows it again when it goes."""
    cluster = Cluster(own_lab, encapsulation="vxlan", pool=["10.42.0.0/16", "fd00:10:42::/48"])
    one, two = cluster.nodes
    block = own_blocks(two)[0]
    assert one.routes(4)[block]["dev"] == "vxlan.calico"
    own_lab.write("pool.json", pool("default-ipv4-ippool", "10.42.0.0/16", vxlanMode="Never", ipipMode="Never"))
    wait_for("the route is plain", lambda: one.routes(4).get(block, {}).get("dev") == "eth0")
    reach_all(cluster.pods)
    own_lab.erase("pool.json")
    wait_for("the route is in the overlay", lambda: one.routes(4).get(block, {}).get("dev") == "vxlan.calico")
    reach_all(cluster.pods)


def test_disabled_pool_gives_no_address_but_serves_its_pods(own_lab):
    node = own_lab.node().start(pool=["10.42.0.0/16"], encapsulation="none")
    pod = node.pod("old")
    own_lab.write("pools.json", [pool("default-ipv4-ippool", "10.42.0.0/16", disabled=True),
                                 pool("next", "10.43.0.0/16")])

    def from_next():
        other = node.pod("new")
        other.delete().ok()
        return other.v4.startswith("10.43.")
    wait_for("addresses come from the other pool", from_next, step=0.05)
    assert ping(node, pod.v4)

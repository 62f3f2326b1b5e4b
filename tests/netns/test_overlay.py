"""Modes of pools: what each becomes, edits while running, and a kernel that lacks one (most of CI's lack IPIP)."""
import pytest

import lab as labs
from lab import Namespace, matrix, ping, run, udp, wait_for

NOTES = {kind: "projectcalico.org/%sTunnelAddr" % kind for kind in ("IPv4IPIP", "IPv4VXLAN", "IPv6VXLAN")}
V4, V6 = labs.POOLS
LACK = "CONFIG_NET_IPIP"


def pool(name, cidr, mode):
    """An IPPool of a mode in the words of manx.conf."""
    word = {"": "Never", "cross-subnet": "CrossSubnet"}
    kind, _, rest = mode.partition("-")
    modes = {"ipip": "Never", "vxlan": "Never", **({kind: word[rest] if rest else "Always"} if kind != "none" else {})}
    return {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": name},
            "spec": {"cidr": cidr, "blockSize": 122 if ":" in cidr else 26, "natOutgoing": True,
                     "ipipMode": modes["ipip"], "vxlanMode": modes["vxlan"]}}


@pytest.fixture(scope="module")
def has_ipip(tmp_path_factory):
    space = Namespace(tmp_path_factory.mktemp("ns") / "probe")
    try:
        return "Unknown device type" not in space.run("ip", "link", "add", "probe", "type", "ipip", check=False).stderr
    finally:
        space.remove()


def modes(lab):
    """Of the pools that agents made: {name: (ipipMode, vxlanMode)}."""
    return {name: (p["spec"]["ipipMode"], p["spec"]["vxlanMode"]) for name, p in lab.objects("ippools").items()}


def notes(lab, node):
    """Which tunnel addresses the node publishes."""
    found = lab.objects("nodes").get(node.name, {}).get("metadata", {}).get("annotations", {})
    return {kind: found[key] for kind, key in NOTES.items() if key in found}


def handles(lab):
    return {h["spec"]["handleID"] for h in lab.objects("ipamhandles").values() if "tunnel" in h["spec"]["handleID"]}


def block_of(node, family=4):
    rows = [b["cidr"] for b in node.show("ipam", "show")["blocks"] if b["node"] == node.name]
    return next(c for c in rows if (":" in c) == (family == 6))


def problems(node):
    return [p for p in node.show("status")["problems"] if p["sub"] == "overlay"]


def everybody(pods):
    return all(matrix(pods, 4).values()) and all(matrix(pods, 6).values())


def wait_everybody(pods):
    wait_for("everybody reaches everybody", lambda: everybody(pods))


# --- auto -----------------------------------------------------------------------------------------

def test_auto_is_ipip_where_the_kernel_has_it(own_lab, has_ipip):
    node = own_lab.node().start()
    assert modes(own_lab) == {"default-ipv4-ippool": ("Always", "Never") if has_ipip else ("Never", "Always"),
                              "default-ipv6-ippool": ("Never", "Never") if has_ipip else ("Never", "Always")}
    view = node.show("status")["overlay"]
    assert (view["mode"], view["device"]) == (("ipip", "tunl0") if has_ipip else ("vxlan", "vxlan.calico"))
    assert "manx-probe" not in node.links()
    assert not node.show("status")["problems"]


@pytest.mark.parametrize("v4,v6", [("ipip", ("Never", "Never")), ("vxlan", ("Never", "Always")),
                                   ("vxlan-cross-subnet", ("Never", "CrossSubnet")), ("none", ("Never", "Never"))])
def test_auto_of_ipv6_goes_as_the_pool_of_ipv4(own_lab, v4, v6):
    own_lab.write("pool.json", pool("mine", "10.50.0.0/16", v4))
    node = own_lab.node().start(pool=[V6])
    assert modes(own_lab) == {"default-ipv6-ippool": v6}
    assert LACK + " (" not in node.log(), "nobody asked"


def test_auto_without_ipv4_is_vxlan(own_lab):
    own_lab.node().start(pool=[V6])
    assert modes(own_lab) == {"default-ipv6-ippool": ("Never", "Always")}


# --- IPIP, or what is said when there is none -----------------------------------------------------

@pytest.fixture(scope="module")
def ipip():
    with labs.Lab("ipip") as lab:
        nodes = [lab.node().start(encapsulation="ipip") for _ in range(2)]
        pods = [n.pod("%s-%s" % (name, n.name)) for n in nodes for name in ("web", "db")]
        yield lab, nodes, pods


def test_ipip_carries_or_is_named_once(ipip, has_ipip):
    lab, nodes, pods = ipip
    one, two = nodes
    if has_ipip:
        wait_everybody(pods)
        route = one.routes(4, protocol=172)[block_of(two)]
        assert (route["dev"], route["gateway"], route["metric"]) == ("tunl0", two.v4, 1024)
        assert not problems(one)
        return
    (problem,) = problems(one)
    assert LACK in problem["text"] and LACK in problem["remedy"]
    assert LACK in one.show("status")["overlay"]["problem"]
    assert one.log().count(LACK) == 1
    assert block_of(two) not in one.routes(4)
    shown = {r["dst"]: r for r in one.show("routes")["routes"]}
    assert (shown[block_of(two)]["state"], shown[block_of(two)]["dev"]) == ("waiting", "tunl0")
    assert ping(pods[0], pods[1].v4), "pods of one node need no tunnel"
    assert ping(pods[0], pods[-1].v6), "IPv6 goes without"


def test_ipip_publishes_its_address(ipip):
    lab, nodes, pods = ipip
    for node in nodes:
        wait_for("the address is published", lambda: set(notes(lab, node)) == {"IPv4IPIP"})
    wait_for("the handles are written", lambda: handles(lab) == {"ipip-tunnel-addr-" + n.name for n in nodes})
    assert pods[0].links()["eth0"]["mtu"] == 1480


def test_status_of_ipip(ipip):
    lab, nodes, pods = ipip
    view = nodes[0].show("status")["overlay"]
    assert (view["mode"], view["device"], view["mtu"], view["peers"]) == ("ipip", "tunl0", 1480, 1)


def test_lack_outlives_a_restart(ipip, has_ipip):
    lab, (one, two), pods = ipip
    one.restart()
    assert len(problems(one)) == (0 if has_ipip else 1)
    assert (block_of(two) in one.routes(4)) == has_ipip


# --- edits ----------------------------------------------------------------------------------------

class Edits:
    def __init__(self, lab):
        self.lab = lab
        self.nodes = [lab.node().start(encapsulation="vxlan") for _ in range(2)]
        self.pods = [n.pod("pod-" + n.name) for n in self.nodes]
        wait_everybody(self.pods)

    def edit(self, v4, v6):
        self.lab.write("pools.json", [pool("default-ipv4-ippool", V4, v4), pool("default-ipv6-ippool", V6, v6)])

    def published(self, *kinds):
        for node in self.nodes:
            wait_for("%s publishes %s" % (node.name, kinds), lambda: set(notes(self.lab, node)) == set(kinds))
        names = {"IPv4IPIP": "ipip", "IPv4VXLAN": "vxlan", "IPv6VXLAN": "vxlan-v6"}
        want = {"%s-tunnel-addr-%s" % (names[k], n.name) for k in kinds for n in self.nodes}
        wait_for("handles are %s" % want, lambda: handles(self.lab) == want)

    def route(self, family=4):
        return self.nodes[0].routes(family, protocol=172).get(block_of(self.nodes[1], family), {})


def test_edits_of_the_mode_take_effect(own_lab, has_ipip):
    e = Edits(own_lab)
    one, two = e.nodes
    e.published("IPv4VXLAN", "IPv6VXLAN")

    e.edit("none", "vxlan")
    wait_for("the route is plain", lambda: e.route().get("dev") == "eth0")
    e.published("IPv6VXLAN")
    wait_for("the device is gone", lambda: "vxlan.calico" not in one.links())
    wait_everybody(e.pods)

    e.edit("ipip", "none")
    e.published("IPv4IPIP")
    if has_ipip:
        wait_for("the route is in the tunnel", lambda: e.route().get("dev") == "tunl0")
        wait_everybody(e.pods)
        assert udp(one, e.pods[1].v4, server=e.pods[1]) == notes(own_lab, one)["IPv4IPIP"]
    else:
        wait_for("there is no route", lambda: not e.route())
        assert len(problems(one)) == 1
    assert not {"vxlan.calico", "vxlan-v6.calico"} & set(one.links())
    wait_for("IPv6 is plain", lambda: ping(e.pods[0], e.pods[1].v6))

    e.edit("vxlan-cross-subnet", "vxlan-cross-subnet")
    e.published("IPv4VXLAN", "IPv6VXLAN")
    wait_for("the same subnet is reached directly", lambda: e.route().get("dev") == "eth0")
    wait_everybody(e.pods)
    assert not problems(one)
    if has_ipip:
        link = one.links()["tunl0"]
        assert "UP" not in link["flags"] and "ifalias" not in link
        assert not [a for a in one.ip("addr show dev tunl0")[0]["addr_info"] if a["family"] == "inet"]

    e.edit("vxlan", "none")
    wait_for("the route is in the tunnel", lambda: e.route().get("dev") == "vxlan.calico")
    e.published("IPv4VXLAN")
    wait_everybody(e.pods)
    assert one.process.poll() is None


def test_link_that_somebody_else_uses_stays(own_lab, has_ipip):
    """tunl0 belongs to whoever set it up as long as no pool asks for it."""
    node = own_lab.node()
    node.batch(*([] if has_ipip else ["link add tunl0 type bridge"]), "link set tunl0 up",
               "addr add 10.99.9.9/32 dev tunl0")
    node.start(encapsulation="vxlan")
    node.restart()
    link = node.links()["tunl0"]
    assert "UP" in link["flags"] and "ifalias" not in link
    assert [a["local"] for a in node.ip("addr show dev tunl0")[0]["addr_info"] if a["family"] == "inet"] == ["10.99.9.9"]
    if not has_ipip:
        own_lab.write("pool.json", pool("default-ipv4-ippool", V4, "ipip"))
        wait_for("the link is named", lambda: "bridge" in str(problems(node)))
        node.batch("link del tunl0")
        wait_for("the kernel's lack is named", lambda: LACK in str(problems(node)))




@pytest.mark.parametrize("foreign", ["bridge", "vxlan id 7 dstport 4789 local 192.0.2.11"])
def test_foreign_device_in_the_way_is_named_and_left(own_lab, foreign):
    """A link of the tunnel's name that is something else; one that is VXLAN, too, is taken for ours and put right."""
    one, two = own_lab.node(), own_lab.node()
    one.batch("link add vxlan.calico type %s" % foreign, "addr add 10.99.9.9/24 dev vxlan.calico", "link set vxlan.calico up")
    one.start(encapsulation="vxlan"), two.start(encapsulation="vxlan")
    here, there = one.pod("here"), two.pod("there")
    if foreign != "bridge":
        wait_for("traffic", lambda: ping(here, there.v4))
        return

    def named():
        routes = [r["why"] for r in one.show("routes")["routes"] if r["state"] != "ok"]
        status = one.show("status")
        texts = [*routes, status["overlay"]["problem"], *(p["text"] for p in status["problems"])]
        return routes and all('vxlan.calico: a link of kind "bridge" has this name' in t for t in texts)
    wait_for("the device is named", named)
    before = one.ip("addr show dev vxlan.calico")
    assert one.show("status")["ready"] and ping(one, here.v4) and ping(here, there.v6)
    one.restart()
    wait_for("the device is named", named)
    assert one.ip("addr show dev vxlan.calico") == before
    assert "vxlan.calico" in one.manx("routes").stdout
    one.batch("link set vxlan.calico down", "link set vxlan.calico name theirs")
    wait_for("the tunnel takes its place", lambda: ping(here, there.v4))
    assert one.show("status")["problems"] == [] and one.links()["theirs"]["linkinfo"]["info_kind"] == "bridge"

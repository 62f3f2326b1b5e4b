"""Which pool an address comes from: selectors, uses, modes."""
import ipaddress

import pytest

from lab import ping, wait_for


def pool(name, cidr, **spec):
    return {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": name},
            "spec": {"cidr": cidr, **spec}}


def labelled(kind, name, **labels):
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": labels}}


def inside(address, cidr):
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)


def refused(node, name, code, *words, **kw):
    pod = node.new_pod(name, **kw)
    pod.start_add().finish().refused(code, *words)
    assert node.host_links() == {} or pod.host_if not in node.host_links()


def test_node_selector_by_labels_of_a_users_node_file(own_lab):
    own_lab.write("pools.json", [pool("east", "10.50.0.0/24", nodeSelector="zone == 'east'"),
                                 pool("west", "10.60.0.0/24", nodeSelector="zone == 'west'")])
    one, two = own_lab.node("one"), own_lab.node("two")
    own_lab.write("nodes.json", [labelled("Node", "one", zone="east"), labelled("Node", "two", zone="west")])
    one.start(pool=["10.42.0.0/16"])
    two.start(pool=["10.42.0.0/16"])
    a, b = one.pod("a"), two.pod("b")
    assert inside(a.v4, "10.50.0.0/24") and inside(b.v4, "10.60.0.0/24")
    assert ping(a, b.v4)
    own_lab.write("nodes.json", [labelled("Node", "one", zone="west"), labelled("Node", "two", zone="west")])
    wait_for("the other pool is used", lambda: inside(one.pod("c").v4, "10.60.0.0/24"))
    assert ping(b, a.v4), "who is there keeps its address"


def test_namespace_selector(own_lab):
    own_lab.write("pools.json", [pool("a-team", "10.50.0.0/24", namespaceSelector="team in {'a', 'b'}"),
                                 pool("rest", "10.60.0.0/24", namespaceSelector="!has(team)")])
    own_lab.write("ns.json", [labelled("Namespace", "ours", team="a"), labelled("Namespace", "odd", team="c")])
    node = own_lab.node().start(pool=["10.42.0.0/16"])
    assert inside(node.pod("x", namespace="ours").v4, "10.50.0.0/24")
    assert inside(node.pod("x").v4, "10.60.0.0/24"), "a namespace without an object has no team"
    refused(node, "x", 101, namespace="odd")


def test_bad_selector_is_named(own_lab):
    own_lab.write("pools.json", [pool("bad", "10.50.0.0/24", nodeSelector="zone ="), pool("good", "10.60.0.0/24")])
    node = own_lab.node().start(pool=["10.42.0.0/16"])
    assert "spec.nodeSelector: column 6" in node.log()
    assert inside(node.pod("x").v4, "10.60.0.0/24")


@pytest.mark.parametrize("spec", [{"disabled": True}, {"allowedUses": ["Tunnel"]}, {"allowedUses": ["LoadBalancer"]},
                                  {"assignmentMode": "Manual"}], ids=lambda spec: next(iter(spec)))
def test_pools_that_pods_do_not_get(own_lab, spec):
    own_lab.write("pools.json", [pool("a", "10.50.0.0/24", **spec), pool("b", "10.60.0.0/24")])
    node = own_lab.node().start(pool=["10.42.0.0/16"])
    assert inside(node.pod("x").v4, "10.60.0.0/24")


def test_pool_disabled_while_pods_live_in_it(own_lab):
    own_lab.write("pool.json", pool("a", "10.50.0.0/24"))
    node = own_lab.node().start(pool=["10.42.0.0/16"])
    one, two = node.pod("one"), node.pod("two")
    own_lab.write("pool.json", [pool("a", "10.50.0.0/24", disabled=True), pool("b", "10.60.0.0/24")])
    wait_for("the other pool is used", lambda: inside(node.pod("c").v4, "10.60.0.0/24"))
    assert ping(one, two.v4), "they go on"
    node.restart()
    assert ping(one, two.v4)
    two.delete().ok()
    wait_for("its address is given back",
             lambda: sum(b["used"] for b in node.show("ipam", "show")["blocks"] if b["cidr"].startswith("10.50.")) == 1)

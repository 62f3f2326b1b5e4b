"""Which network pods are in, where nobody says so."""

import pytest
from api import CALICO

NODE = "/api/v1/nodes/%s"


def pools(lab):
    return sorted(p["spec"]["cidr"] for p in lab.items(CALICO + "ippools"))


def start(node, **kw):
    return node.start(pool=None, **kw)


def test_what_kubeadm_noted(lab):
    text = "kind: ClusterConfiguration\nnetworking:\n  dnsDomain: cluster.local\n  podSubnet: 10.77.0.0/16,fd00:77::/48\n  serviceSubnet: 10.96.0.0/12\n"
    lab.call("POST", "/api/v1/namespaces/kube-system/configmaps", {"metadata": {"name": "kubeadm-config"}, "data": {"ClusterConfiguration": text}})
    node = start(lab.node(podCIDR="10.77.3.0/24", podCIDRs=["10.77.3.0/24"]))
    assert pools(lab) == ["10.77.0.0/16", "fd00:77::/48"]
    assert node.pod("a").v4.startswith("10.77.")


def test_what_the_controller_manager_was_told(lab):
    for i, args in enumerate((["kube-controller-manager", "--bind-address=127.0.0.1"], ["kube-controller-manager", "--cluster-cidr=10.78.0.0/15"])):
        lab.call("POST", "/api/v1/namespaces/kube-system/pods", {
            "metadata": {"name": "kcm-%d" % i, "labels": {"component": "kube-controller-manager"}},
            "spec": {"serviceAccountName": "manx", "containers": [{"name": "c", "image": "x", "command": args}]}})
    start(lab.node())
    assert pools(lab) == ["10.78.0.0/15"]


def test_the_usual_network_and_a_node_that_joins_later(lab):
    """Two nodes' podCIDRs would fit in a /23: a third one has its addresses as well."""
    one, two = (lab.node(podCIDR=c, podCIDRs=[c]) for c in ("10.42.0.0/24", "10.42.1.0/24"))
    start(one), start(two)
    assert pools(lab) == ["10.42.0.0/16"]
    three = start(lab.node(podCIDR="10.42.200.0/24", podCIDRs=["10.42.200.0/24"]))
    pods = [n.pod("p-" + n.name) for n in (one, two, three)]
    assert len({p.v4 for p in pods}) == 3 and all(p.v4.startswith("10.42.") for p in pods)
    assert pools(lab) == ["10.42.0.0/16"]


def test_a_pool_that_is_there_counts(lab):
    lab.call("POST", CALICO + "ippools", {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": "mine"},
                                          "spec": {"cidr": "172.20.0.0/16", "ipipMode": "Never", "vxlanMode": "Never"}})
    node = start(lab.node(podCIDR="10.42.0.0/24", podCIDRs=["10.42.0.0/24"]))
    assert pools(lab) == ["172.20.0.0/16"] and node.pod("a").v4.startswith("172.20.")


@pytest.mark.parametrize("cidrs", [["10.42.0.0/24", "10.99.1.0/24"], ["10.99.0.0/24", "10.99.1.0/24"], [None]])
def test_else_the_agent_ends_and_names_the_setting(lab, cidrs):
    """Never a supernet of what is seen."""
    nodes = [lab.node(**({"podCIDR": c, "podCIDRs": [c]} if c else {})) for c in cidrs]
    nodes[0].start(wait=False, pool=None)
    assert nodes[0].process.wait(20) == 5
    nodes[0].process = None
    assert "set pool = ADDRESS/LEN" in nodes[0].log() and pools(lab) == []


def test_without_calicos_kinds_addresses_are_the_nodes(bare_lab):
    """Said so once, and a third node joins later."""
    nodes = [bare_lab.node(podCIDR=c, podCIDRs=[c]) for c in ("10.42.0.0/24", "10.42.1.0/24")]
    for node in nodes:
        start(node)
        assert node.log().count("going on with ipam = podcidr") == 1
    third = start(bare_lab.node(podCIDR="10.42.2.0/24", podCIDRs=["10.42.2.0/24"]))
    for node, net in zip([*nodes, third], ("10.42.0.", "10.42.1.", "10.42.2.")):
        assert node.pod("p-" + node.name).v4.startswith(net)

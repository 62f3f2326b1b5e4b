"""GC: what the runtime does not list and what does not live is given back, and nothing else."""

import pytest

from lab import host_if, ping, wait_for
from test_ipam_check import allocate, block, check, taken

BOTH = ("cni.dev/valid-attachments", "cni.dev/attachments")


@pytest.fixture
def node(own_lab):
    return own_lab.node().start(pool=["10.42.0.0/24"], encapsulation="none")


def gc(node, pods, names=BOTH, **conf):
    listed = [{"containerID": p.container, "ifname": "eth0"} for p in pods]
    return node.cni("GC", None, None, None, conf={"cniVersion": "1.1.0", **{n: listed for n in names}, **conf})


def test_what_lives_stays_listed_or_not(node):
    pods = [node.pod("a"), node.pod("b")]
    for listed in (pods, pods[:1], []):
        answer = gc(node, listed).ok()
        assert (answer.out, answer.err) == ("", "")
        assert taken(node) == 2 and all(ping(node, p.v4) for p in pods)


@pytest.mark.parametrize("names", [BOTH, BOTH[:1], BOTH[1:]], ids=len)
def test_pod_whose_link_is_gone(node, names):
    lives, listed, lost = node.pod("lives"), node.pod("listed"), node.pod("lost")
    for pod in (listed, lost):
        node.run("ip", "link", "del", pod.host_if)
    gc(node, [lives, listed], names).ok()
    assert taken(node) == 2, "when it is answered, the address is back"
    routes = node.routes(4, protocol=171)
    assert lost.v4 not in routes and lives.v4 in routes
    assert ping(node, lives.v4)
    handles = node.lab.objects("ipamhandles")
    wait_for("handle is gone", lambda: "k8s-pod-network." + lost.container not in node.lab.objects("ipamhandles"))
    assert "k8s-pod-network." + lives.container in handles
    lost.delete().ok()
    assert taken(node) == 2


def test_addresses_without_a_pod(node):
    pod = node.pod("a")
    allocate(node, "k8s-pod-network.dead", node.name, pod="gone", namespace="default")
    allocate(node, "k8s-pod-network.known", node.name, pod="slow", namespace="default")
    allocate(node, "another-network.dead", node.name, pod="gone", namespace="default")
    allocate(node, "k8s-pod-network.far", "far-away", pod="p", namespace="default")
    node.lab.write("far.json", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "far-away"}})
    known = [{"containerID": "known", "ifname": "eth0"}, {"containerID": pod.container, "ifname": "eth0"}]
    node.cni("GC", None, None, None, conf={"cniVersion": "1.1.0", BOTH[0]: known}).ok()
    spec = node.lab.objects("ipamblocks")[block(node)["cidr"].replace(".", "-").replace("/", "-")]["spec"]
    held = {a["handle_id"] for a in spec["attributes"]}
    assert held == {"k8s-pod-network." + pod.container, "k8s-pod-network.known", "another-network.dead",
                    "k8s-pod-network.far"}


def test_pod_of_another_program_is_not_ours_to_free(node):
    node.pod("a")
    allocate(node, "k8s-pod-network.foreign", node.name, pod="calicos", namespace="default")
    node.run("ip", "link", "add", host_if("default", "calicos"), "type", "veth", "peer", "name", "far")
    gc(node, []).ok()
    assert taken(node) == 2


def test_list_is_needed_and_checked(node):
    node.cni("GC", None, None, None, conf={"cniVersion": "1.1.0"}).refused(7, "cni.dev/valid-attachments")
    for bad in ({}, "x", [1], [{"containerID": "a"}], [{"containerID": 1, "ifname": "eth0"}]):
        conf = {"cniVersion": "1.1.0", BOTH[0]: bad}
        node.cni("GC", None, None, None, conf=conf).refused(7, "cni.dev/valid-attachments")


def test_gc_without_an_agent_fails(node):
    node.end()
    gc(node, []).refused(50)
    node.start()
    gc(node, []).ok()
    assert check(node)[0] == 0

"""IPAMConfig and IPReservation: borrowing, caps, addresses that rest or are kept out."""
import pytest

from lab import ping, wait_for
from objects import compare, object_name
from test_ipam import Renames
from test_ipam_check import check, edit
from test_ipam_pools import inside, pool


def config(kind="IPAMConfig", **spec):
    group = {"IPAMConfig": "crd.projectcalico.org/v1", "IPAMConfiguration": "projectcalico.org/v3"}[kind]
    return {"apiVersion": group, "kind": kind, "metadata": {"name": "default"}, "spec": spec}


def rows(node):
    return {b["cidr"]: b for b in node.show("ipam", "show")["blocks"]}


def full(node, name, *words):
    node.new_pod(name).start_add().finish().refused(101, *words)


@pytest.fixture
def two(own_lab):
    """Two nodes, and a pool of two blocks of four."""
    own_lab.write("pool.json", pool("small", "10.50.0.0/29", blockSize=30))

    def start(**spec):
        if spec:
            own_lab.write("config.json", config(**spec))
        return [own_lab.node().start(pool=["10.42.0.0/16"]), own_lab.node().start(pool=["10.42.0.0/16"])]
    return start


def test_borrowed_addresses_are_reached_from_everywhere(two):
    one, other = two()
    lender = other.pod("lender")
    pods = [one.pod("p-%d" % i) for i in range(6)]
    owned = {b["node"]: b for b in rows(one).values()}
    assert owned[one.name]["used"] == 4 and owned[other.name]["used"] == 3
    borrowed = [p for p in pods if inside(p.v4, owned[other.name]["cidr"])]
    assert len(borrowed) == 2
    for pod in borrowed:
        wait_for("its route is known", lambda: pod.v4 in other.routes(4, protocol=172))
        assert ping(lender, pod.v4) and ping(pod, lender.v4) and ping(pods[0], pod.v4) and ping(other, pod.v4)
    one.restart()
    assert all(ping(lender, p.v4) for p in pods)
    assert check(one)[0] == check(other)[0] == 0
    for pod in pods:
        pod.delete().ok()
    wait_for("all is given back", lambda: sum(b["used"] for b in rows(other).values()) == 1)
    assert ping(other, lender.v4)


@pytest.mark.parametrize("kind", ["IPAMConfig", "IPAMConfiguration"])
def test_strict_affinity(two, kind):
    one, other = two(kind=kind, strictAffinity=True, autoAllocateBlocks=True)
    other.pod("lender")
    for i in range(4):
        one.pod("p-%d" % i)
    full(one, "late", "small", "10.50.0.0/29")


def test_blocks_of_a_host_are_capped(own_lab):
    own_lab.write("objects.json", [pool("p", "10.50.0.0/24", blockSize=30), config(maxBlocksPerHost=1)])
    node = own_lab.node().start(pool=["10.42.0.0/16"])
    pods = [node.pod("p-%d" % i) for i in range(4)]
    full(node, "late", "1 block")
    own_lab.write("objects.json", [pool("p", "10.50.0.0/24", blockSize=30), config(maxBlocksPerHost=2)])
    wait_for("the next block", lambda: node.new_pod("later").start_add().finish().code == 0)
    assert len(rows(node)) == 2 and all(ping(node, p.v4) for p in pods)


def test_reserved_addresses(own_lab):
    own_lab.write("objects.json", [pool("p", "10.50.0.0/29", blockSize=29), {
        "apiVersion": "projectcalico.org/v3", "kind": "IPReservation", "metadata": {"name": "gateways"},
        "spec": {"reservedCIDRs": ["10.50.0.0/30", "10.50.0.7/32"]}}])
    node = own_lab.node().start(pool=["10.42.0.0/16"])
    assert sorted(node.pod("p-%d" % i).v4 for i in range(3)) == ["10.50.0.4", "10.50.0.5", "10.50.0.6"]
    full(node, "late")
    asked = node.new_pod("asked").add(conf={"runtimeConfig": {"ips": ["10.50.0.1/29"]}})
    assert asked.v4 == "10.50.0.1" and ping(node, asked.v4)


def test_address_rests_before_it_is_given_again(own_lab):
    own_lab.write("objects.json", [pool("p", "10.50.0.0/31", blockSize=31), config(ipCooldownSeconds=2)])
    node = own_lab.node("edge-07").start(pool=["10.42.0.0/16"])
    first, second = node.pod("first", container=32 * "a1"), node.pod("second", container=32 * "b2")
    first.delete().ok()
    wait_for("it is given back", lambda: rows(node)["10.50.0.0/31"]["used"] == 1)
    compare("block-resting", own_lab.objects("ipamblocks")[object_name("10.50.0.0/31")], {})
    full(node, "early")
    node.restart()
    third = wait_for("it has rested", lambda: attached(node), timeout=4, step=0.2)
    assert third.v4 == first.v4 and ping(node, third.v4) and ping(node, second.v4)
    assert check(node) == (0, {"leaked": [], "duplicate": []})


def attached(node):
    pod = node.new_pod("third")
    answer = pod.start_add().finish()
    return pod.added(answer) if answer.code == 0 else None


def test_bad_config_is_named(own_lab):
    own_lab.write("objects.json", [pool("p", "10.50.0.0/29", blockSize=29), config(ipCooldownSeconds=1201)])
    node = own_lab.node().start(pool=["10.42.0.0/16"])
    assert "spec.ipCooldownSeconds: want 0 to 1200" in node.log()
    node.pod("p")


def agrees(node):
    """Blocks, affinities and blackholes are the same ones."""
    cidrs = {b["cidr"] for b in node.show("ipam", "show")["blocks"] if b["state"] == "confirmed"}
    affinities = {a["spec"]["cidr"] for a in node.lab.objects("blockaffinities").values()}
    blackholes = {c for c in node.routes(4, protocol=172) if c.startswith("10.50.")}
    return cidrs == affinities == blackholes and len(cidrs)


@pytest.mark.parametrize("how", ["disabled", "deleted", "for other nodes"])
def test_block_of_a_pool_that_serves_no_more_goes_when_it_is_empty(own_lab, how):
    own_lab.write("pool.json", pool("p", "10.50.0.0/24"))
    node = own_lab.node().start(pool=["10.42.0.0/16"])
    pod = node.pod("p")
    wait_for("one block", lambda: agrees(node) == 1)
    other = pool("other", "10.60.0.0/24")
    after = {"disabled": [pool("p", "10.50.0.0/24", disabled=True)], "deleted": [],
             "for other nodes": [pool("p", "10.50.0.0/24", nodeSelector="has(nowhere)")]}[how]
    own_lab.write("pool.json", after + [other])
    wait_for("the other pool is used", lambda: inside(node.pod("q").v4, "10.60.0.0/24"))
    assert ping(node, pod.v4) and any(c.startswith("10.50.") for c in rows(node))
    pod.delete().ok()
    wait_for("the block is gone", lambda: not any(c.startswith("10.50.") for c in rows(node)))
    wait_for("so is its affinity", lambda: len(own_lab.objects("blockaffinities")) == 1)


@pytest.mark.waits
def test_empty_block_that_is_not_needed_goes_after_a_while(own_lab):
    own_lab.write("pool.json", pool("p", "10.50.0.0/24", blockSize=30))
    node = own_lab.node().start(pool=["10.42.0.0/16"])
    pods = [node.pod("p-%d" % i) for i in range(5)]
    wait_for("two blocks", lambda: agrees(node) == 2)
    home = {c for c, b in rows(node).items() if b["used"] == 4}.pop()
    stays, *go = sorted(pods, key=lambda p: not inside(p.v4, home))
    for pod in go:
        pod.delete().ok()
    wait_for("one is given back", lambda: agrees(node) == 1, timeout=20, step=0.2)
    assert ping(node, stays.v4) and home in rows(node)
    stays.delete().ok()
    again = node.pod("again")
    assert inside(again.v4, home) and agrees(node) == 1, "the last one stays"


# --- blocks of other nodes ------------------------------------------------------------------------

def test_empty_block_of_a_living_node_is_taken_over_when_the_pool_is_full(own_lab):
    """Calico's objects and Calico's order: marked, block and affinity gone, then claimed as any other."""
    cidr, text = "10.50.0.0/26", object_name("10.50.0.0/26")
    own_lab.write("objects.json", [pool("p", cidr), config(strictAffinity=True, autoAllocateBlocks=True)])
    one, two = own_lab.node("edge-01").start(pool=["10.42.0.0/16"]), own_lab.node("edge-07").start(pool=["10.42.0.0/16"])
    pod = one.pod("p")
    edit(own_lab, "ipamblocks", text, lambda block: block["spec"].update(affinityClaimTime="2026-01-01T00:00:00Z"))
    full(two, "early", "p (%s)" % cidr)
    pod.delete().ok()
    wait_for("its block is empty", lambda: rows(two)[cidr]["used"] == 0)
    top = own_lab.store / ".manx"
    seen = Renames(affinity=top / "blockaffinities", block=top / "ipamblocks")
    try:
        web = two.pod("web-0", container="aB" + 31 * "c0")
        order = [name for _, name in seen.read()][:4]
    finally:
        seen.close()
    assert order == ["edge-01-" + text, "edge-07-" + text, text, "edge-07-" + text]
    two.pod("db-0", namespace="shop", container=32 * "d1")
    names = {cidr: "<block>", text: "<block name>"}
    compare("block-v4", own_lab.objects("ipamblocks")[text], names)
    compare("affinity-v4", own_lab.objects("blockaffinities")["edge-07-" + text], names)
    assert list(own_lab.objects("blockaffinities")) == ["edge-07-" + text]
    wait_for("the way there is known", lambda: ping(one, web.v4))
    assert one.routes(4, protocol=172)[cidr]["gateway"] == two.v4 and "gateway" not in two.routes(4, protocol=172)[cidr]
    full(one, "late", "p (%s)" % cidr)
    assert check(one)[0] == check(two)[0] == 0


def test_block_in_use_that_another_node_marked_stays(own_lab):
    """Who wanted to take it over died right then."""
    own_lab.write("pool.json", pool("p", "10.50.0.0/26"))
    node = own_lab.node().start(pool=["10.42.0.0/16"])
    pod = node.pod("p")
    name = "%s-%s" % (node.name, object_name("10.50.0.0/26"))
    edit(own_lab, "blockaffinities", name, lambda affinity: affinity["spec"].update(state="pendingDeletion"))
    wait_for("it is confirmed again", lambda: own_lab.objects("blockaffinities")[name]["spec"]["state"] == "confirmed")
    assert node.pod("q").v4 and ping(node, pod.v4) and check(node)[0] == 0

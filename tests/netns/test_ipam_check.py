"""`manx ipam check` and `manx ipam release`: what leaked is found and freed, what lives stays."""
import json

import pytest

from lab import BINARY, PATH, run, wait_for
from objects import object_name

KEYS = {"address", "block", "node", "handle", "reason"}


@pytest.fixture
def node(own_lab):
    return own_lab.node().start(pool=["10.42.0.0/24"], encapsulation="none")


def edit(lab, plural, name, change):
    """Changes an object that agents wrote, as another agent would."""
    path = lab.store / ".manx" / plural / (name + ".json")
    obj = json.loads(path.read_text())
    obj["metadata"]["resourceVersion"] = str(int(obj["metadata"]["resourceVersion"]) + 1000)
    change(obj)
    temp = lab.dir / "edited.json"
    temp.write_text(json.dumps(obj))
    temp.rename(path)


def block(node):
    row, = [b for b in node.show("ipam", "show")["blocks"] if b["node"] == node.name]
    return row


def allocate(node, handle, owner, **secondary):
    """The next free address of the node's block goes to handle, on the node called owner."""
    cidr, given = block(node)["cidr"], []
    used = block(node)["used"]

    def change(obj):
        spec = obj["spec"]
        ordinal = spec["unallocated"].pop(0)
        spec["allocations"][ordinal] = len(spec["attributes"])
        spec["attributes"].append({"handle_id": handle, "secondary": {"node": owner, **secondary}})
        given.append("10.42.0.%d" % (int(cidr.split("/")[0].split(".")[-1]) + ordinal))
    edit(node.lab, "ipamblocks", object_name(cidr), change)
    wait_for("the agent has seen it", lambda: block(node)["used"] + block(node)["reserved"] > used)
    return given[0]


def check(node, *args):
    p = node.manx("ipam", "check", *args, "-o", "json", check=False)
    return p.returncode, json.loads(p.stdout)


def taken(node):
    return block(node)["used"]


# --- check ----------------------------------------------------------------------------------------

def test_nothing_is_found_where_all_is_well(node):
    node.pod("a"), node.pod("b", namespace="shop")
    assert check(node) == (0, {"leaked": [], "duplicate": []})
    p = node.manx("ipam", "check")
    assert p.stdout == "no address is leaked or used twice\n" and p.stderr == ""


def test_address_without_a_pod_is_found_and_freed(node):
    pod = node.pod("a")
    lost = allocate(node, "k8s-pod-network.dead", node.name, pod="gone", namespace="default")
    code, found = check(node)
    assert code == 1 and found["duplicate"] == []
    leak, = found["leaked"]
    assert set(leak) == KEYS
    assert leak["address"] == lost and leak["block"] == block(node)["cidr"] and leak["node"] == node.name
    assert leak["handle"] == "k8s-pod-network.dead" and "no pod" in leak["reason"]
    assert taken(node) == 2, "without --fix nothing changes"
    text = node.manx("ipam", "check", check=False)
    assert text.returncode == 1 and text.stdout.startswith("leaked ") and lost in text.stdout

    code, found = check(node, "--fix")
    assert code == 0 and [(f["address"], f["freed"]) for f in found["leaked"]] == [(lost, True)]
    assert taken(node) == 1
    assert check(node) == (0, {"leaked": [], "duplicate": []})
    assert pod.check().code == 0


def test_addresses_of_a_node_that_is_gone_are_freed_of_one_that_lives_not(own_lab, node):
    node.pod("a")
    other = own_lab.node().start(pool=["10.42.0.0/24"])
    other.pod("b")
    borrowed = allocate(node, "k8s-pod-network.b0", other.name, pod="borrower", namespace="default")
    assert check(node) == (0, {"leaked": [], "duplicate": []}), "another node's pods are its own to judge"
    other.end()
    (own_lab.store / ".manx" / "nodes" / (other.name + ".json")).unlink()
    wait_for("the node is gone", lambda: check(node)[0] == 1)
    leaked = check(node)[1]["leaked"]
    assert len(leaked) == 2 and all(f["node"] == other.name and "no such node" in f["reason"] for f in leaked)
    assert borrowed in [f["address"] for f in leaked]
    code, found = check(node, "--fix")
    assert code == 0 and all(f["freed"] for f in found["leaked"])
    assert sum(b["used"] for b in node.show("ipam", "show")["blocks"]) == 1
    wait_for("its handles are gone", lambda: len(own_lab.objects("ipamhandles")) == 1)


def test_tunnel_addresses_are_no_leak(own_lab):
    node = own_lab.node().start(pool=["10.42.0.0/24"], encapsulation="vxlan")
    assert block(node)["reserved"] == 1
    assert check(node, "--fix") == (0, {"leaked": [], "duplicate": []})
    assert block(node)["reserved"] == 1


def test_address_that_two_have_is_named_and_not_freed(node):
    pod = node.pod("a")

    def change(obj):
        obj["spec"]["attributes"][0]["handle_id"] = "k8s-pod-network.other"
        obj["spec"]["attributes"][0]["secondary"]["node"] = "elsewhere"
    edit(node.lab, "ipamblocks", object_name(block(node)["cidr"]), change)
    node.lab.write("node.json", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "elsewhere"}})
    wait_for("it is found", lambda: check(node)[1]["duplicate"])
    code, found = check(node, "--fix")
    assert code == 1 and found["leaked"] == []
    two, = found["duplicate"]
    assert set(two) == KEYS and two["address"] == pod.v4 and two["handle"] == "k8s-pod-network.other"
    assert "default/a" in two["reason"]
    assert taken(node) == 1


def test_datastore_that_is_away_is_said(node):
    away = node.lab.dir / "store-away"
    node.lab.store.rename(away)
    try:
        wait_for("it is away", lambda: node.show("status")["datastore"]["state"] == "away")
        for verb in (["check"], ["check", "--fix"], ["release", "10.42.0.1"]):
            p = node.manx("ipam", *verb, check=False)
            assert p.returncode == 7 and "away" in p.stderr and p.stdout == ""
    finally:
        away.rename(node.lab.store)


# --- release --------------------------------------------------------------------------------------

def test_address_that_nobody_lives_by_is_released(node):
    node.pod("a")
    lost = allocate(node, "k8s-pod-network.dead", node.name)
    p = node.manx("ipam", "release", lost)
    assert p.stdout == "released %s\n" % lost
    assert taken(node) == 1
    again = node.manx("ipam", "release", lost, check=False)
    assert again.returncode == 1 and lost in again.stderr and again.stdout == ""


def test_address_of_a_pod_that_lives_is_not_released(node):
    pod = node.pod("web-0")
    p = node.manx("ipam", "release", pod.v4, check=False)
    assert p.returncode == 1 and pod.v4 in p.stderr and "web-0" in p.stderr and p.stdout == ""
    assert taken(node) == 1


def test_tunnel_address_is_not_released(own_lab):
    node = own_lab.node().start(pool=["10.42.0.0/24"], encapsulation="vxlan")
    address = block(node)["cidr"].split("/")[0]
    p = node.manx("ipam", "release", address, check=False)
    assert p.returncode == 1 and "vxlanTunnelAddress" in p.stderr
    assert block(node)["reserved"] == 1


def test_pods_address_of_another_node_is_not_released(own_lab, node):
    other = own_lab.node().start(pool=["10.42.0.0/24"])
    pod = other.pod("far-0")
    p = wait_for("its node has published it", lambda: own_lab.objects("workloadendpoints") and
                 node.manx("ipam", "release", pod.v4, check=False))
    assert p.returncode == 1 and "far-0" in p.stderr


@pytest.mark.parametrize("words", [[], ["ten"], ["10.42.0.1/32"], ["10.42.0.1", "10.42.0.2"]], ids=lambda w: " ".join(w) or "nothing")
def test_release_wants_one_address(node, words):
    p = node.manx("ipam", "release", *words, check=False)
    assert p.returncode == 2 and p.stderr and p.stdout == ""


@pytest.mark.parametrize("verb", [["check"], ["check", "--fix"], ["release", "10.42.0.1"]], ids=" ".join)
def test_without_an_agent_exit_3(tmp_path, verb):
    p = run([BINARY, "ipam", *verb, "--socket", str(tmp_path / "manx.sock")], check=False, env={"PATH": PATH})
    assert p.returncode == 3 and "manx.sock" in p.stderr and p.stdout == ""

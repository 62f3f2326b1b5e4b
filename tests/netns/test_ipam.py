"""Addresses: blocks, affinities and handles as Calico writes them, and in which order addresses go out."""
import base64
import ctypes
import hashlib
import json
import os
import signal
import struct

import pytest

from lab import libc, ping, wait_for
from objects import compare, object_name


def hostname_hash(name):
    return base64.b32encode(hashlib.sha3_256(name.encode()).digest()).decode().rstrip("=")


def blocks(node, family=4):
    """The node's own blocks of a family, by CIDR."""
    rows = node.show("ipam", "show")["blocks"]
    return {b["cidr"]: b for b in rows if b["node"] == node.name and (":" in b["cidr"]) == (family == 6)}


def block_spec(lab, cidr):
    return lab.objects("ipamblocks")[object_name(cidr)]["spec"]


def only(mapping):
    assert len(mapping) == 1, mapping
    return next(iter(mapping))


@pytest.fixture(scope="module")
def nodes(lab):
    """encapsulation none: no tunnel addresses among the pods'; blocks of 4 and 64."""
    config = {"encapsulation": "none", "block_size": 30}
    return [lab.node().start(**config), lab.node().start(**config)]


@pytest.fixture(scope="module")
def one(nodes):
    return nodes[0]


class Renames:
    """Names of files renamed into folders, in order (inotify)."""
    MOVED_TO = 0x80

    def __init__(self, **folders):
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.folders = {libc.inotify_add_watch(self.fd, str(path).encode(), ctypes.c_uint32(self.MOVED_TO)): name
                        for name, path in folders.items()}

    def read(self):
        data, seen = b"", []
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            pass
        while data:
            watch, _, _, length = struct.unpack_from("iIII", data)
            name = data[16:16 + length].rstrip(b"\0").decode()
            data = data[16 + length:]
            if name.endswith(".json") and not name.startswith("."):
                seen.append((self.folders[watch], name[:-5]))
        return seen

    def close(self):
        os.close(self.fd)


# --- the objects ----------------------------------------------------------------------------------

def test_objects_of_an_attachment_are_calicos(own_lab):
    """Block, affinity and handle of two pods, key by key, both families."""
    node = own_lab.node("edge-07").start(encapsulation="none")
    web = node.pod("web-0", container="aB" + 31 * "c0")
    node.pod("db-0", namespace="shop", container=32 * "d1")
    for family, text in ((4, "v4"), (6, "v6")):
        cidr = only(blocks(node, family))
        names = {cidr: "<block>", object_name(cidr): "<block name>"}
        block = own_lab.objects("ipamblocks")[object_name(cidr)]
        affinity = own_lab.objects("blockaffinities")["edge-07-" + object_name(cidr)]
        compare("block-" + text, block, names)
        compare("affinity-" + text, affinity, names)
        assert affinity["metadata"]["labels"]["projectcalico.org/hostname-hash"] == hostname_hash("edge-07")
    name = ("k8s-pod-network." + web.container).lower()
    wait_for("the handle is written", lambda: name in own_lab.objects("ipamhandles"))
    names = {only(blocks(node, 4)): "<block v4>", only(blocks(node, 6)): "<block v6>"}
    compare("handle", own_lab.objects("ipamhandles")[name], names)


def test_default_pools_are_calicos(own_lab):
    own_lab.node("edge-07").start(encapsulation="vxlan")
    for name in ("default-ipv4-ippool", "default-ipv6-ippool"):
        compare(name, own_lab.objects("ippools")[name], {})


def test_tunnel_addresses_are_allocated_under_calicos_handles(own_lab):
    node = own_lab.node("edge-07").start(encapsulation="vxlan")
    for family, handle, kind in ((4, "vxlan-tunnel-addr-edge-07", "vxlanTunnelAddress"),
                                 (6, "vxlan-v6-tunnel-addr-edge-07", "vxlanV6TunnelAddress")):
        row = blocks(node, family)
        spec = block_spec(own_lab, only(row))
        assert row[only(row)]["used"] == 0 and row[only(row)]["reserved"] == 1
        taken = [a for a in spec["attributes"] if a.get("handle_id") == handle]
        assert taken == [{"handle_id": handle, "secondary": {"node": "edge-07", "type": kind}}]


def test_reserve_is_allocated_under_its_own_handle(own_lab):
    node = own_lab.node("edge-07").start(encapsulation="none", ipam_reserve=8)

    def filled():
        rows = [*blocks(node, 4).values(), *blocks(node, 6).values()]
        return len(rows) == 2 and all(b["reserved"] == 8 for b in rows)
    wait_for("8 addresses of each family are kept", filled, timeout=1)
    for family in (4, 6):
        spec = block_spec(own_lab, only(blocks(node, family)))
        assert [a["handle_id"] for a in spec["attributes"]] == ["manx-reserve-edge-07"]
        assert sum(a is not None for a in spec["allocations"]) == 8
    pod = node.pod("p")
    wait_for("the reserve is full again", filled)
    assert used_addresses(node) == 2 and ping(node, pod.v4)


def used_addresses(node):
    return sum(b["used"] for b in node.show("ipam", "show")["blocks"])


def test_sequence_numbers_stay_exact_beyond_double_precision(one, lab):
    pod = one.pod("sequence")
    for family in (4, 6):
        path = lab.store / ".manx" / "ipamblocks" / (object_name(only(blocks(one, family))) + ".json")
        now = json.loads(path.read_text())["spec"]["sequenceNumber"]
        assert now > 1 << 60, "nanoseconds of the clock at creation"
        other = one.pod("sequence-more")
        after = json.loads(path.read_text())["spec"]
        assert now < after["sequenceNumber"] < now + 10
        ordinal = str([i for i, a in enumerate(after["allocations"]) if a is not None][-1])
        assert now <= after["sequenceNumberForAllocation"][ordinal] < after["sequenceNumber"]
        other.delete().ok()
    pod.delete().ok()


def test_claim_of_a_block_is_two_phase(own_lab):
    """The affinity is written before the block and confirmed after it, as seen in the folder."""
    node = own_lab.node().start(pool=["10.42.0.0/16"], encapsulation="none")
    top = own_lab.store / ".manx"
    for plural in ("blockaffinities", "ipamblocks"):
        (top / plural).mkdir(exist_ok=True)
    seen = Renames(affinity=top / "blockaffinities", block=top / "ipamblocks")
    try:
        node.pod("p")
        order = [what for what, _ in seen.read()]
    finally:
        seen.close()
    assert order[:3] == ["affinity", "block", "affinity"], order
    cidr = only(blocks(node))
    affinity = own_lab.objects("blockaffinities")["%s-%s" % (node.name, object_name(cidr))]
    assert affinity["spec"]["state"] == "confirmed"
    assert blocks(node)[cidr]["state"] == "confirmed"


# --- which address --------------------------------------------------------------------------------

def test_nodes_that_share_a_folder_take_different_blocks(nodes):
    pods = [n.pod("share-%s" % n.name) for n in nodes]
    for family in (4, 6):
        assert not set(blocks(nodes[0], family)) & set(blocks(nodes[1], family))
    whole = [b["cidr"] for b in nodes[0].show("ipam", "show")["blocks"]]
    assert len(whole) == len(set(whole)) >= 4
    assert whole == [b["cidr"] for b in nodes[1].show("ipam", "show")["blocks"]]
    for pod in pods:
        pod.delete().ok()


def test_show_has_the_keys_of_the_contract(one):
    for block in one.show("ipam", "show")["blocks"]:
        assert set(block) >= {"cidr", "node", "state", "used", "reserved", "free", "size"}
        assert block["size"] == (64 if ":" in block["cidr"] else 4)
        assert block["used"] + block["reserved"] + block["free"] == block["size"]


def test_released_address_is_given_again_last(own_lab):
    node = own_lab.node().start(pool=["10.42.0.0/28"], block_size=28, encapsulation="none")
    first, second = node.pod("a"), node.pod("b")
    spec = block_spec(own_lab, only(blocks(node)))
    assert spec["unallocated"] == list(range(2, 16))
    first.delete().ok()
    third = node.pod("c")
    spec = block_spec(own_lab, only(blocks(node)))
    assert third.v4.endswith(".2")
    assert spec["unallocated"] == [*range(3, 16), 0]
    assert [i for i, a in enumerate(spec["allocations"]) if a is not None] == [1, 2]
    second.delete().ok()
    order = [node.pod("d-%d" % i).v4 for i in range(15)]
    assert [int(a.split(".")[-1]) for a in order] == [*range(3, 16), 0, 1]


def test_second_block_is_claimed_when_the_first_is_full(own_lab):
    node = own_lab.node().start(encapsulation="none", block_size=30)
    pods = [node.pod("p-%d" % i) for i in range(5)]
    rows = blocks(node)
    assert len(rows) == 2 and sorted(b["used"] for b in rows.values()) == [1, 4]
    assert len({p.v4 for p in pods}) == 5
    assert all(ping(node, p.v4) for p in pods)
    assert set(rows) <= set(node.routes(4, protocol=172)), "a block lacks its blackhole"


def test_handle_goes_with_the_last_address(one, lab):
    pod = one.pod("handle")
    name = "k8s-pod-network." + pod.container
    wait_for("handle is written", lambda: name in lab.objects("ipamhandles"))
    counts = lab.objects("ipamhandles")[name]["spec"]["block"]
    assert sorted(counts.values()) == [1, 1]
    pod.delete().ok()
    wait_for("handle is gone", lambda: name not in lab.objects("ipamhandles"))


# --- restarts -------------------------------------------------------------------------------------

@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_restarted_agent_keeps_addresses_and_serves_del(one, signo):
    pod = one.pod("kept")
    before = used_addresses(one)
    one.restart(signo)
    assert used_addresses(one) == before
    assert ping(one, pod.v4) and ping(one, pod.v6)
    again = one.cni("ADD", pod.container, pod.path, **pod.identity()).ok()
    assert again.json == pod.result.json
    other = one.pod("after")
    assert other.v4 != pod.v4 and other.v6 != pod.v6
    for p in (pod, other):
        p.delete().ok()
    assert used_addresses(one) == before - 2
    wait_for("link is gone", lambda: pod.host_if not in one.links(), timeout=1)

"""ADD and DEL while the datastore is away, from addresses kept for that."""
import contextlib
import fcntl
import signal
import time

import pytest

from lab import ping, wait_for
from objects import object_name
from test_ipam_check import check

HANDLE = "manx-reserve-edge-07"


@pytest.fixture
def node(own_lab):
    node = own_lab.node("edge-07").start(encapsulation="none", ipam_reserve=4, cni_bin_dir="", cni_conf_dir="")
    wait_for("the reserve is full", lambda: reserved(node) == 8)
    return node


def rows(node):
    return node.show("ipam", "show")["blocks"]


def reserved(node):
    return sum(b["reserved"] for b in rows(node))


def used(node):
    return sum(b["used"] for b in rows(node))


def state(node):
    return node.show("status")["datastore"]["state"]


@contextlib.contextmanager
def folder_away(node):
    elsewhere = node.lab.dir / "store-away"
    node.lab.store.rename(elsewhere)
    try:
        wait_for("it is away", lambda: state(node) == "away")
        yield
    finally:
        elsewhere.rename(node.lab.store)


@contextlib.contextmanager
def lock_held(node):
    with open(node.lab.store / ".manx" / "lock") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def agrees(node, pods):
    """Every pod's addresses are under its handle, and the reserve is whole."""
    for cidr in (b["cidr"] for b in rows(node)):
        spec = node.lab.objects("ipamblocks")[object_name(cidr)]["spec"]
        held = sorted(spec["attributes"][i].get("handle_id") for i in spec["allocations"] if i is not None)
        if held != sorted(["k8s-pod-network." + p.container for p in pods] + 4 * [HANDLE]):
            return False
    return check(node) == (0, {"leaked": [], "duplicate": []})


@pytest.mark.parametrize("gone", [folder_away, lock_held], ids=["folder away", "lock held"])
def test_pods_come_and_go_while_the_datastore_is_away(node, gone):
    old, stays = node.pod("old"), node.pod("stays")
    with gone(node):
        pods = [node.pod("away-%d" % i) for i in range(3)]
        assert len({p.v4 for p in pods + [old, stays]}) == 5
        assert all(ping(node, p.v4) and ping(node, p.v6) for p in pods)
        assert ping(pods[0], stays.v4)
        for pod in (old, pods[1]):
            answer = pod.delete().ok()
            assert answer.ms < 3000
            assert not ping(node, pod.v4)
        pods[2].check().ok()
    wait_for("what was lent is assigned", lambda: agrees(node, [stays, pods[0], pods[2]]))
    assert ping(pods[0], pods[2].v4) and ping(node, stays.v6)
    names = {"k8s-pod-network." + p.container for p in (stays, pods[0], pods[2])} | {HANDLE}
    wait_for("handles follow", lambda: set(node.lab.objects("ipamhandles")) == names)


def test_reserve_that_is_used_up(node):
    with folder_away(node):
        pods = [node.pod("p-%d" % i) for i in range(4)]
        late = node.new_pod("late")
        late.start_add().finish().refused(102, "away", "reserve")
        assert late.host_if not in node.host_links()
        pods[0].delete().ok()
        late.add()
        assert (late.v4, late.v6) == (pods[0].v4, pods[0].v6)
    wait_for("what was lent is assigned", lambda: agrees(node, [*pods[1:], late]))


def test_agent_that_is_killed_while_addresses_are_lent(node):
    with folder_away(node):
        pod, gone = node.pod("lives"), node.pod("gone")
        gone.delete().ok()
        node.end(signal.SIGKILL)
    node.start(wait=True)
    wait_for("what was lent is assigned", lambda: used(node) == 2 and reserved(node) == 8)
    assert ping(node, pod.v4) and ping(node, pod.v6)
    other = node.pod("other")
    assert other.v4 != pod.v4 and used(node) == 4
    assert check(node) == (0, {"leaked": [], "duplicate": []})


def test_nothing_is_written_at_idle(node):
    node.pod("p")
    wait_for("handles follow", lambda: len(node.lab.objects("ipamhandles")) == 2)
    time.sleep(0.3)

    def snapshot():
        return {p: p.stat().st_mtime_ns for p in node.lab.store.rglob("*")}
    before = snapshot()
    time.sleep(1.5)
    assert snapshot() == before


def test_add_in_peace_is_one_write_of_its_block(node):
    node.pod("first")
    version = {b["cidr"]: 0 for b in rows(node)}

    def versions():
        return {c: node.lab.objects("ipamblocks")[object_name(c)]["spec"]["sequenceNumber"] for c in version}
    before = versions()
    node.pod("second")
    assert {c: n - before[c] for c, n in versions().items()} == {c: 1 for c in version}
    assert reserved(node) == 8


def test_full_pool_gives_from_the_reserve(own_lab):
    node = own_lab.node("edge-07").start(pool=["10.42.0.0/29"], block_size=29, encapsulation="none", ipam_reserve=4)
    wait_for("the reserve is full", lambda: reserved(node) == 4)
    pods = [node.pod("p-%d" % i) for i in range(8)]
    assert len({p.v4 for p in pods}) == 8 and all(ping(node, p.v4) for p in pods)
    wait_for("all are assigned", lambda: (used(node), reserved(node)) == (8, 0))
    node.new_pod("late").start_add().finish().refused(101, "10.42.0.0/29")
    pods[0].delete().ok()
    node.pod("late-too")

"""A live pod keeps what it has, whatever becomes of the datastore, of repeated calls, and of names in its way."""
import time

import pytest

from lab import host_if, ping, wait_for
from tracing import inject


def blocks_used(node):
    return sum(b["used"] for b in node.show("ipam", "show")["blocks"])


@pytest.mark.parametrize("damage", ["removed", "emptied"])
def test_block_that_is_lost_under_a_running_agent_gives_no_address_twice(own_lab, damage):
    node = own_lab.node().start(encapsulation="none")
    pods = [node.pod("p-%d" % i) for i in range(3)]
    for path in (own_lab.store / ".manx" / "ipamblocks").iterdir():
        path.unlink() if damage == "removed" else path.write_text("")
    more = [node.pod("q-%d" % i) for i in range(4)]
    addresses = [a for p in pods + more for a in (p.v4, p.v6)]
    assert len(set(addresses)) == len(addresses)
    for pod in pods + more:
        assert ping(node, pod.v4) and ping(node, pod.v6)
    wait_for("every address is in a block again", lambda: blocks_used(node) == len(addresses))


def test_repeated_add_that_fails_leaves_the_pod_alone(own_lab):
    node = own_lab.node().start(encapsulation="none")
    web, other = node.pod("web"), node.new_pod("other")
    other.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    node.cni("ADD", web.container, other.path, **web.identity()).refused(4, "eth0")
    assert ping(node, web.v4) and ping(node, web.v6)
    assert blocks_used(node) == 2
    assert web.add() is not None and ping(node, web.v4)
    web.delete().ok()
    wait_for("its addresses are given back", lambda: blocks_used(node) == 0)


def test_foreign_link_of_the_host_ends_name_is_named_and_left(own_lab):
    node = own_lab.node().start(encapsulation="none")
    name = host_if("default", "web")
    node.batch("link add %s type veth peer name peer0" % name, "link set %s alias mine" % name)
    before = node.links()[name]["ifindex"]
    pod = node.new_pod("web")
    pod.start_add().finish().refused(4, name)
    assert node.links()[name]["ifindex"] == before
    assert blocks_used(node) == 0


def test_handle_of_a_pod_that_went_right_before_the_agent_is_removed(own_lab):
    node = own_lab.node().start(encapsulation="none")
    pod = node.pod("p")
    handle = "k8s-pod-network." + pod.container
    wait_for("the handle is written", lambda: handle in own_lab.objects("ipamhandles"))
    pod.delete().ok()
    node.kill()
    node.start()
    wait_for("the handle is gone", lambda: handle not in own_lab.objects("ipamhandles"))


def test_note_that_comes_after_the_agent_read_them_is_handed_over(own_lab):
    node = own_lab.node().start(encapsulation="none")
    pod = node.pod("p")
    node.kill()
    late = pod.start_delete(wrap=["strace", "-f", *inject("mkdir,mkdirat", "delay_enter=1000000", 1)])
    time.sleep(0.2)
    node.start()
    late.finish().ok()
    wait_for("the pod's addresses are given back", lambda: blocks_used(node) == 0)
    assert not list((node.dir / "run" / "del").iterdir())


def test_node_without_an_address_is_not_ready(own_lab):
    node = own_lab.node().start(encapsulation="none")
    node.end()
    node.start(wait=False, node_address="interface nope")
    wait_for("the agent answers", lambda: node.manx("status", check=False).returncode == 0)
    time.sleep(0.3)
    status = node.show("status")
    assert not status["ready"] and status["addresses"] == []
    assert any("address" in p["text"] for p in status["problems"])

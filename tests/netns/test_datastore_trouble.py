"""A datastore that refuses, loses races or is shared by mistake: what can be written later is, what cannot is said once."""
import fcntl
import shutil
import signal
import time

import pytest

from lab import ping, wait_for
from test_ipam_check import edit


def refusing(node, plural, error):
    """Writes of this kind of object fail meanwhile."""
    return node.traced("-o", "/dev/null", "-P", str(node.store / ".manx" / plural), "-e", "inject=renameat:error=" + error)


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("plural", ["ipamhandles", "workloadendpoints"])
def test_what_a_full_datastore_did_not_take_is_written_when_it_does(own_lab, plural, error):
    node = own_lab.node().start(encapsulation="none")
    first = node.pod("first")
    wait_for("the first pod's are there", lambda: own_lab.objects(plural))
    before = set(own_lab.objects(plural))
    with refusing(node, plural, error):
        pod = node.pod("second")
        first.delete().ok()
        wait_for("it is a problem", lambda: any("cannot write" in p["text"] for p in node.show("status")["problems"]))
        time.sleep(1.5)
        assert set(own_lab.objects(plural)) <= before
        assert ping(node, pod.v4)
        assert node.log().count("cannot write") == 1, "what else is written in between is no news"
    wait_for("the second pod's are there, the first one's gone",
             lambda: own_lab.objects(plural) and not set(own_lab.objects(plural)) & before, timeout=4)
    wait_for("no problem is left", lambda: node.show("status")["problems"] == [])
    assert node.log().count("again") == 1


def test_endpoint_that_a_users_object_hides_is_said_once_and_let_be(own_lab):
    node = own_lab.node("edge").start(encapsulation="none")
    own_lab.write("mine.json", {"apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint",
                                "metadata": {"name": "edge-k8s-web-eth0", "namespace": "default"},
                                "spec": {"node": "other", "orchestrator": "k8s", "pod": "web", "endpoint": "eth0",
                                         "containerID": "x", "interfaceName": "cali0", "ipNetworks": ["10.42.200.1/32"]}})
    time.sleep(0.1)
    node.pod("web")
    wait_for("it is said", lambda: "cannot write" in node.log())
    time.sleep(2.5)
    assert len([line for line in node.log().splitlines() if "WorkloadEndpoint" in line]) == 1, node.log()


def test_addresses_are_not_kept_for_adds_that_were_given_up(own_lab):
    """Four of them wait in front of a live one, and the pool has four addresses."""
    node = own_lab.node().start(encapsulation="none", pool=["10.99.0.0/30"], block_size=30)
    node.pod("first").delete().ok()
    with open(own_lab.store / ".manx" / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        writing = node.new_pod("writing").start_add()
        time.sleep(0.2)
        gone = [node.new_pod("gone-%d" % i).start_add() for i in range(4)]
        time.sleep(0.3)
        for call in gone:
            call.kill()
        time.sleep(0.1)
        live = node.new_pod("live").start_add()
        time.sleep(0.2)
        fcntl.flock(lock, fcntl.LOCK_UN)
    writing.finish().ok()
    live.finish().ok()
    wait_for("the two have theirs", lambda: node.show("status")["ipam"]["used"] == 2)


# --- two agents of one name -----------------------------------------------------------------------

def test_second_agent_of_a_name_is_refused(own_lab):
    """On another machine: it has none of the first one's pods, and would give their addresses back."""
    one, twin = own_lab.node(), own_lab.node()
    pod = one.start().pod("p")
    before = own_lab.objects("ipamblocks")
    twin.start(wait=False, node_name=one.name)
    assert twin.process.wait(10) == 75
    line, = twin.log().strip().splitlines()[1:]
    assert "node_name %s: another agent" % one.name in line
    assert own_lab.objects("ipamblocks") == before and ping(one, pod.v4)
    one.restart(signal.SIGKILL)
    twin.start(node_name=twin.name)


def test_second_agent_is_refused_though_the_run_dir_was_removed(own_lab):
    """Its lock went with it, the first agent did not."""
    node = own_lab.node().start()
    pod, first = node.pod("p"), node.process
    shutil.rmtree(node.dir / "run")
    node.process = None
    try:
        node.start(wait=False)
        assert node.process.wait(15) == 75
        assert node.log().splitlines()[-1].count("another agent") == 1
        node.start(wait=False, datastore="file %s" % (own_lab.dir / "other"))       # nor with another datastore
        wait_for("it says so", lambda: "end the other agent, or program, that owns the table" in node.log())
        assert not node.show("status")["ready"] and ping(node, pod.v4)
    finally:
        node.end()
        first.terminate()
        first.wait(10)
    node.start(datastore="file %s" % own_lab.store)
    pod.check().ok()


def test_another_program_that_writes_the_node_is_named_and_not_fought(own_lab):
    node, other = own_lab.node().start(encapsulation="none"), own_lab.node().start(encapsulation="none")

    def overwrite():
        edit(own_lab, "nodes", node.name, lambda o: o["metadata"]["annotations"].update({"projectcalico.org/IPv4Address": "192.0.2.77/24"}))

    def told(n):
        return [p for p in n.show("status")["problems"] if node.name in p["text"] and "another program" in p["text"]]
    overwrite()
    problem, = wait_for("it is a problem", lambda: told(node))
    assert "node_name" in problem["remedy"] and "192.0.2.77/24" in problem["text"]
    wait_for("it is written again", lambda: "192.0.2.77" not in str(own_lab.objects("nodes")[node.name]))
    overwrite()
    time.sleep(0.5)
    assert "192.0.2.77" in str(own_lab.objects("nodes")[node.name]), "the second time it stays"
    assert node.log().count("registering") == 2 and not told(other)


def test_users_own_address_of_a_node_is_no_fight(own_lab):
    """The agent's addresses count, whatever a person's file says."""
    node = own_lab.node().start(encapsulation="none")
    own_lab.write("node.json", {"apiVersion": "v1", "kind": "Node", "metadata": {
        "name": node.name, "annotations": {"projectcalico.org/IPv4Address": "192.0.2.99/24"}}})
    time.sleep(0.5)
    assert node.log().count("registering") < 3, node.log()


def test_address_that_changes_is_no_fight(own_lab):
    node = own_lab.node().start(encapsulation="none")
    for i in range(1, 5):
        node.batch("addr flush dev eth0", "addr add 192.0.2.%d/24 dev eth0" % (100 + i), "addr add 2001:db8::%d/64 dev eth0 nodad" % (100 + i),
                   "route replace 0.0.0.0/0 via 192.0.2.1")
        wait_for("the address is written", lambda: own_lab.objects("nodes")[node.name]["metadata"]["annotations"]
                 ["projectcalico.org/IPv4Address"] == "192.0.2.%d/24" % (100 + i))
    assert node.show("status")["problems"] == []

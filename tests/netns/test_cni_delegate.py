"""Addresses by an IPAM plugin that the network list names: the real host-local, and one that misbehaves."""
import fcntl
import os
import stat

import pytest

from lab import ping, wait_for

HOST_LOCAL = "/usr/lib/cni"


def plugin_path(node):
    return {"CNI_PATH": "/nonexistent:%s:%s" % (node.dir / "plugins", HOST_LOCAL)}


@pytest.fixture(scope="module")
def node(lab):
    return lab.node().start()


def conf(node, subnet="10.77.0.0/24", **ipam):
    return {"ipam": {"type": "host-local", "dataDir": str(node.dir / "host-local"), "subnet": subnet, **ipam}}


def held(node):
    folder = node.dir / "host-local" / "k8s-pod-network"
    return sorted(n for n in os.listdir(folder) if n[0].isdigit()) if folder.exists() else []


def attach(node, name, **kw):
    pod = node.new_pod(name)
    pod.conf = conf(node, **kw)
    return pod.added(pod.start_add(conf=pod.conf, env=plugin_path(node)).finish())


def test_add_check_del_and_traffic(node):
    a, b = attach(node, "a"), attach(node, "b")
    assert a.v4.startswith("10.77.0.") and a.v4 != b.v4 and a.result.ips() == ["%s/32" % a.v4]
    assert held(node) == sorted([a.v4, b.v4])
    assert ping(a, b.v4) and ping(node, a.v4)
    a.check(conf={**a.conf, "cniVersion": "1.0.0"}, env=plugin_path(node)).ok()
    node.restart()
    assert ping(a, b.v4), "the next agent knows the address by its route"
    a.check(conf={**a.conf, "cniVersion": "1.0.0"}, env=plugin_path(node)).ok()
    for pod in (a, b):
        for _ in range(2):
            pod.delete(conf=pod.conf, env=plugin_path(node)).ok()
    assert held(node) == [] and wait_for("links are gone", lambda: not node.host_links())
    assert node.show("ipam", "check") == {"leaked": [], "duplicate": []}


def test_both_families(node):
    ranges = [[{"subnet": "10.77.1.0/24"}], [{"subnet": "fd77::/64"}]]
    pod = node.new_pod("two")
    both = {"ipam": {"type": "host-local", "dataDir": str(node.dir / "host-local"), "ranges": ranges}}
    pod.added(pod.start_add(conf=both, env=plugin_path(node)).finish())
    assert ping(node, pod.v4) and ping(node, pod.v6)
    pod.delete(conf=both, env=plugin_path(node)).ok()
    assert held(node) == []


def test_what_fails_behind_it_is_given_back(node):
    pod = node.new_pod("exists")
    pod.batch("link add eth0 type bridge")
    pod.start_add(conf=conf(node), env=plugin_path(node)).finish().refused(4, "eth0")
    inside = node.new_pod("inside")
    inside.start_add(conf=conf(node, subnet="10.42.0.0/24"), env=plugin_path(node)).finish().refused(7, "in pool", "calico-ipam")
    assert held(node) == []


def test_its_own_errors_are_the_answer(node):
    full = conf(node, subnet="10.77.9.0/30")
    first, second = node.new_pod("first"), node.new_pod("second")
    first.added(first.start_add(conf=full, env=plugin_path(node)).finish())
    answer = second.start_add(conf=full, env=plugin_path(node)).finish()
    assert answer.code == 1 and "no IP addresses available" in answer.json["msg"]
    first.delete(conf=full, env=plugin_path(node)).ok()
    second.start_add(conf=conf(node), env={"CNI_PATH": "/nonexistent"}).finish().refused(7, "host-local", "/nonexistent")
    second.start_add(conf={"ipam": {"type": "../host-local"}}, env=plugin_path(node)).finish().refused(7, "no plugin's name")


def test_address_of_a_pod_that_has_just_gone_is_no_longer_taken(node):
    """Though the datastore does not say so yet: somebody holds its lock."""
    only = conf(node, subnet="10.77.8.0/30")
    old, new = node.new_pod("old"), node.new_pod("new")
    old.added(old.start_add(conf=only, env=plugin_path(node)).finish())
    wait_for("it is published", lambda: old.container in str(node.objects("workloadendpoints")))
    with open(node.store / ".manx" / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        old.delete(conf=only, env=plugin_path(node)).ok()
        new.added(new.start_add(conf=only, env=plugin_path(node)).finish())
    assert new.v4 == old.v4 and ping(node, new.v4)
    new.delete(conf=only, env=plugin_path(node)).ok()


@pytest.mark.parametrize("script, code, word", [
    ("echo '{\"ips\": [{\"address\": \"10.77.0.300/24\"}]}'", 7, "10.77.0.300"), ("echo nonsense", 6, "no JSON"),
    ("echo '{\"cniVersion\": \"1.0.0\", \"ips\": []}'", 7, "no address"), ("exit 3", 5, "ipam plugin"), ("kill -9 $$", 5, "ipam plugin"),
    ("echo '{\"ips\": [{\"address\": \"192.0.2.11/24\"}]}'", 103, "taken")])
def test_one_that_misbehaves(node, script, code, word):
    (node.dir / "plugins").mkdir(exist_ok=True)
    path = node.dir / "plugins" / "odd"
    path.write_text("#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exit 0\n%s\n" % script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    pod = node.new_pod("odd")
    pod.start_add(conf={"ipam": {"type": "odd"}}, env=plugin_path(node)).finish().refused(code, word)
    assert pod.host_if not in node.host_links()


def test_use_pod_cidr(node, own_lab):
    words = {"type": "host-local", "subnet": "usePodCidr"}
    node.new_pod("p").start_add(conf={"ipam": words}, env=plugin_path(node)).finish().refused(7, "ipam = podcidr")
    own_lab.write("node.json", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"},
                                "spec": {"podCIDRs": ["10.42.5.0/24", "fd00:10:42:5::/64"]}})
    one = own_lab.node("one").start(ipam="podcidr")
    for name, ipam in (("a", words), ("b", {"type": "host-local", "ranges": [[{"subnet": "usePodCidr"}], [{"subnet": "usePodCidrIPv6"}]]})):
        pod = one.new_pod(name)
        pod.added(pod.start_add(conf={"ipam": ipam}, env=plugin_path(one)).finish())
        assert pod.v4.startswith("10.42.5.") and ping(one, pod.v4)
        pod.delete(conf={"ipam": ipam}).ok()

"""What a pod asks for: Calico's annotations on pods and namespaces, and the capabilities ips and mac."""
import json

import pytest

from lab import ping, wait_for
from objects import compare, object_name
from test_ipam_pools import inside, pool

POOLS = [pool("a", "10.50.0.0/24", blockSize=28), pool("b", "10.60.0.0/24", blockSize=28, nodeSelector="has(nowhere)"),
         pool("c", "10.70.0.0/24", blockSize=28, assignmentMode="Manual"), pool("off", "10.80.0.0/24", disabled=True),
         pool("six", "fd00:50::/64")]
KEY = "cni.projectcalico.org/"


def annotated(kind, name, namespace=None, **annotations):
    meta = {"name": name, "annotations": {KEY + k: v if isinstance(v, str) else json.dumps(v)
                                          for k, v in annotations.items()}}
    if namespace:
        meta["namespace"] = namespace
    return {"apiVersion": "v1", "kind": kind, "metadata": meta}


@pytest.fixture(scope="module")
def one(lab):
    lab.write("pools.json", POOLS)
    return lab.node("edge-07").start(pool=["10.42.0.0/16", "fd00:42::/48"])


@pytest.fixture
def attach(one):
    """Attaches a pod with annotations, as an object or as the runtime's capability; undone afterwards."""
    files, pods = [], []

    def start(name, conf=None, passed=None, namespace="default", ns=None, network=None, **annotations):
        objects = [annotated("Pod", name, namespace, **annotations)]
        if ns is not None:
            objects.append(annotated("Namespace", namespace, **ns))
        one.lab.write("pod-%s.json" % name, objects)
        files.append("pod-%s.json" % name)
        runtime = dict(conf or {})
        if passed:
            runtime["io.kubernetes.cri.pod-annotations"] = {KEY + k: v for k, v in passed.items()}
        pod = one.new_pod(name, namespace=namespace)
        pods.append(pod)
        wait_for("the pod's object is read", lambda: seen(one, namespace, name, objects[0]))
        answer = pod.start_add(conf={"runtimeConfig": runtime or None, **(network or {})}).finish()
        return pod, answer
    yield start
    for pod in pods:
        pod.delete().ok()
        pod.remove()
    for name in files:
        one.lab.erase(name)
    wait_for("nothing is leaked", lambda: used(one) == 0)
    assert one.manx("ipam", "check", check=False).returncode == 0
    wait_for("links are gone", lambda: not one.host_links())


def seen(node, namespace, name, wanted):
    got = node.manx("get", "pods", name, "-n", namespace, "-o", "json", check=False)
    return got.returncode == 0 and json.loads(got.stdout)["metadata"].get("annotations", {}) == wanted["metadata"]["annotations"]


def used(node):
    return sum(b["used"] for b in node.show("ipam", "show")["blocks"])


def attached(one, pod, answer):
    pod.added(answer)
    for address in filter(None, (pod.v4, pod.v6)):
        assert ping(one, address)
    return pod


def test_plain_pod_has_both_families(one, attach):
    pod = attached(one, *attach("plain"))
    assert inside(pod.v4, "10.50.0.0/24") and inside(pod.v6, "fd00:50::/64")


@pytest.mark.parametrize("names, cidr", [(["b"], "10.60.0.0/24"), (["10.60.0.0/24"], "10.60.0.0/24"), (["c"], "10.70.0.0/24")])
def test_pools_by_name_or_cidr_whatever_they_select(one, attach, names, cidr):
    pod = attached(one, *attach("pools", ipv4pools=names, ipv6pools=["six"]))
    assert inside(pod.v4, cidr) and pod.v6


def test_pod_before_namespace_and_runtime_before_both(one, attach):
    pod = attached(one, *attach("p1", namespace="team", ns={"ipv4pools": ["b"]}))
    assert inside(pod.v4, "10.60.0.0/24")
    pod = attached(one, *attach("p2", namespace="team", ns={"ipv4pools": ["b"]}, ipv4pools=["c"]))
    assert inside(pod.v4, "10.70.0.0/24")
    pod = attached(one, *attach("p3", ipv4pools=["c"], passed={"ipv4pools": '["a"]'}))
    assert inside(pod.v4, "10.50.0.0/24")


@pytest.mark.parametrize("families", [["IPv4"], ["IPv6"], ["IPv6", "IPv4"]], ids="-".join)
def test_families(one, attach, families):
    pod = attached(one, *attach("families", ipFamilies=families))
    assert bool(pod.v4) == ("IPv4" in families) and bool(pod.v6) == ("IPv6" in families)


def test_families_of_a_namespace(one, attach):
    pod = attached(one, *attach("families", namespace="six", ns={"ipFamilies": ["IPv6"]}))
    assert pod.v6 and not pod.v4


def test_fixed_addresses(one, attach):
    pod = attached(one, *attach("fixed", ipAddrs=["10.50.0.77", "fd00:50::77"]))
    assert (pod.v4, pod.v6) == ("10.50.0.77", "fd00:50::77")
    again = one.cni("ADD", pod.container, pod.path, **pod.identity()).ok()
    assert again.json == pod.result.json
    one.restart()
    assert ping(one, pod.v4) and ping(one, pod.v6)


def test_block_of_a_fixed_address_is_calicos(one, attach):
    pod = attached(one, *attach("fixed", ipAddrs=["10.70.0.33"], ipFamilies=["IPv4"]))
    block = one.lab.objects("ipamblocks")[object_name("10.70.0.32/28")]
    compare("block-fixed", block, {pod.container: "<container>"})


def test_capability_ips(one, attach):
    pod = attached(one, *attach("ips", conf={"ips": ["10.50.0.99/24", "fd00:50::99/64"]}, ipAddrs=["10.50.0.98"]))
    assert (pod.v4, pod.v6) == ("10.50.0.99", "fd00:50::99")
    assert pod.result.json["ips"] == [{"address": "10.50.0.99/32", "interface": 1},
                                      {"address": "fd00:50::99/128", "interface": 1}]


@pytest.mark.parametrize("how", ["capability", "annotation", "passed annotation"])
def test_mac(one, attach, how):
    mac = "02:00:5e:10:00:01"
    kw = {"capability": {"conf": {"mac": mac}}, "annotation": {"hwAddr": mac},
          "passed annotation": {"passed": {"hwAddr": mac}}}[how]
    pod = attached(one, *attach("mac", **kw))
    assert pod.links()["eth0"]["address"] == pod.result.json["interfaces"][1]["mac"] == mac
    pod.check().ok()
    one.restart()
    assert ping(one, pod.v4)
    pod.check().ok()
    again = one.cni("ADD", pod.container, pod.path, **pod.identity()).ok()
    assert again.json == pod.result.json


ALLOWED = {"feature_control": {"ip_addrs_no_ipam": True}}


def test_addresses_outside_of_every_pool(one, attach):
    pod = attached(one, *attach("outside", network=ALLOWED, ipAddrsNoIpam=["172.30.1.1"]))
    assert pod.v4 == "172.30.1.1" and not pod.v6
    one.restart()
    assert ping(one, pod.v4)
    _, answer = attach("outside-too", network=ALLOWED, ipAddrsNoIpam=["172.30.1.1"])
    answer.refused(103, "172.30.1.1", "taken")


@pytest.mark.parametrize("annotations, words", [
    ({"ipAddrs": "10.50.0.1"}, ["ipAddrs", "JSON list"]),
    ({"ipAddrs": []}, ["ipAddrs", "JSON list"]),
    ({"ipAddrs": [1]}, ["ipAddrs", "JSON list"]),
    ({"ipAddrs": ["10.50.0"]}, ["ipAddrs", "10.50.0"]),
    ({"ipAddrs": ["192.0.2.1"]}, ["ipAddrs", "192.0.2.1", "in no pool"]),
    ({"ipAddrs": ["10.80.0.1"]}, ["ipAddrs", "off", "disabled"]),
    ({"ipAddrs": ["10.50.0.1", "10.50.0.1"]}, ["10.50.0.1", "twice"]),
    ({"ipAddrs": ["10.50.0.1", "10.50.0.2"]}, ["10.50.0.1", "10.50.0.2", "one address of each family"]),
    ({"ipAddrs": ["10.50.0.1"], "ipFamilies": ["IPv6"]}, ["10.50.0.1", "ipFamilies"]),
    ({"ipAddrs": ["10.50.0.1"], "ipAddrsNoIpam": ["172.30.1.1"]}, ["ipAddrs", "ipAddrsNoIpam"]),
    ({"ipAddrsNoIpam": ["172.30.1.1"]}, ["ipAddrsNoIpam", "feature_control"]),
    ({"ipv4pools": "b"}, ["ipv4pools", "JSON list"]),
    ({"ipv4pools": ["b", "nobody"]}, ["ipv4pools", "no pool nobody"]),
    ({"ipv4pools": ["off"]}, ["ipv4pools", "off", "disabled"]),
    ({"ipv4pools": ["six"]}, ["ipv4pools", "six", "other family"]),
    ({"ipv6pools": ["a"]}, ["ipv6pools", "pool a", "other family"]),
    ({"ipFamilies": ["IPv5"]}, ["ipFamilies", "IPv5"]),
    ({"ipFamilies": ["IPv4", "IPv4"]}, ["ipFamilies", "twice"]),
    ({"hwAddr": "02:00:5e:10:00"}, ["hwAddr", "02:00:5e:10:00"]),
    ({"hwAddr": "01:00:5e:10:00:01"}, ["hwAddr", "01:00:5e:10:00:01"]),
], ids=json.dumps)
def test_bad_annotations(one, attach, annotations, words):
    _, answer = attach("bad", **annotations)
    answer.refused(7, *words)


def test_addresses_without_ipam_are_not_of_a_pool(one, attach):
    _, answer = attach("inside", network=ALLOWED, ipAddrsNoIpam=["10.50.0.3"])
    answer.refused(7, "10.50.0.3", "pool a")


def test_taken_address(one, attach):
    first = attached(one, *attach("first", ipAddrs=["10.50.0.77"]))
    _, answer = attach("second", ipAddrs=["10.50.0.77"])
    answer.refused(103, "10.50.0.77", "taken")
    assert ping(one, first.v4)


@pytest.mark.parametrize("conf, words", [
    ({"ips": "10.50.0.1/24"}, ["runtimeConfig.ips", "JSON list"]), ({"ips": ["x"]}, ["runtimeConfig.ips", "x"]),
    ({"mac": 7}, ["runtimeConfig.mac"]), ({"mac": "x"}, ["runtimeConfig.mac", "x"]),
    ({"io.kubernetes.cri.pod-annotations": []}, ["pod-annotations"]),
], ids=json.dumps)
def test_bad_capabilities(one, attach, conf, words):
    _, answer = attach("bad", conf=conf)
    answer.refused(7, *words)

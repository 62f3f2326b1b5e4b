"""A node has gone: what it had is given back by one of the others, whichever they are."""
import signal
import time

import pytest
from api import CALICO, count, given_twice
from lab import wait_for

SETTINGS = {"pool": "10.42.0.0/24", "block_size": 28, "ipam_reserve": 2}


CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "clusterinformations.crd.projectcalico.org"},
       "spec": {"group": "crd.projectcalico.org", "scope": "Cluster", "names": {"kind": "ClusterInformation", "plural": "clusterinformations"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}


def left(lab, name):
    """Objects that name a node."""
    return [(plural, o["metadata"]["name"]) for plural in ("ipamblocks", "blockaffinities", "ipamhandles")
            for o in lab.items(CALICO + plural) if name in str(o["spec"])]


def three(lab):
    """The third has pods, one of them in a block of the first, and goes."""
    nodes = [lab.node().start(**SETTINGS) for _ in range(3)]
    for node in nodes:
        for i in range(3):
            node.pod("p%d-%s" % (i, node.name))
    nodes[2].kill()
    return nodes


def gone(lab, node):
    lab.call("DELETE", "/api/v1/nodes/" + node.name)
    for pod in list(node.pods):
        pod.remove()


def test_two_that_do_it_at_once_do_no_harm(lab):
    """The first hangs until the second begins, and goes on with what it knew before."""
    one, two, three_ = three(lab)
    used = count(one, "used") + count(two, "used")
    gone(lab, three_)
    time.sleep(10)
    one.process.send_signal(signal.SIGSTOP)
    try:
        wait_for("the second begins", lambda: "node edge-3 has gone" in two.log(), 60, 0.002)
    finally:
        one.process.send_signal(signal.SIGCONT)
    wait_for("the first does it too", lambda: "node edge-3 has gone" in one.log(), 10)
    wait_for("nothing is left", lambda: left(lab, "edge-3") == [], 30, 0.2)
    time.sleep(2)
    assert count(one, "used") + count(two, "used") == used
    late = [node.pod("late-" + node.name) for node in (one, two)]
    assert given_twice(lab) == [] and all(p.v4 for p in late)
    for node in (one, two):
        assert node.show("ipam", "check") == {"leaked": [], "duplicate": []}
        assert "level=err" not in node.log(), node.log()


def controllers(lab):
    return lab.call("POST", "/api/v1/namespaces/kube-system/pods", {
        "metadata": {"name": "calico-kube-controllers-5d8", "labels": {"k8s-app": "calico-kube-controllers"}},
        "spec": {"serviceAccountName": "manx", "containers": [{"name": "c", "image": "x"}]}})


@pytest.mark.parametrize("calico", ["runs", "is here no more"])
def test_beside_calico_its_controllers_do_it(lab, calico):
    lab.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    lab.api.kubectl("wait", "--for=condition=Established", "crd/clusterinformations.crd.projectcalico.org", "--timeout=20s")
    lab.call("POST", CALICO + "clusterinformations", {"apiVersion": "crd.projectcalico.org/v1", "kind": "ClusterInformation",
                                                      "metadata": {"name": "default"}, "spec": {"calicoVersion": "v3.31.0"}})
    if calico == "runs":
        controllers(lab)
    one, two, three_ = three(lab)
    gone(lab, three_)
    if calico == "runs":
        time.sleep(30)
        assert left(lab, "edge-3")
        lab.call("DELETE", "/api/v1/namespaces/kube-system/pods/calico-kube-controllers-5d8?gracePeriodSeconds=0")
    wait_for("nothing is left", lambda: left(lab, "edge-3") == [], 60, 0.2)

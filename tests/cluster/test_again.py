"""Attached a hundred times: the reference's cnitool in one namespace, a pod of one name under the kubelet."""
import concurrent.futures
import json
import os

import pytest
from cluster import container, obj, programs
from lab import Lab, ping, wait_for

TIMES = 100


class CniTool:
    """The reference runtime on a node of a lab, for one namespace; its cache lies in the lab."""

    def __init__(self, node, pod):
        self.node, self.pod, self.program = node, pod, str(programs("cnitool") / "cnitool")
        self.cache = node.dir / "var-lib"
        self.cache.mkdir()

    def __call__(self, verb, **kw):
        env = {"PATH": os.environ["PATH"], "NETCONFPATH": str(self.node.dir / "net.d"), "CNI_PATH": str(self.node.dir / "bin"),
               "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=" + self.pod.name}
        there = "mount --bind %s /var/lib && exec \"$@\"" % self.cache
        return self.node.run("unshare", "-m", "sh", "-ec", there, "sh", self.program, verb, "k8s-pod-network", self.pod.path, env=env, **kw)

    def add(self):
        self.pod.v4, self.pod.v6 = (ip["address"].split("/")[0] for ip in json.loads(self("add").stdout)["ips"])


def used(node):
    return sum(b["used"] for b in node.show("ipam", "show")["blocks"])


@pytest.fixture
def node():
    with Lab("cnitool") as lab:
        yield lab.node().start()


def test_cnitool_in_one_namespace(node):
    """Each ADD meets the link of the last one, which has ended and not yet gone."""
    tool = CniTool(node, node.new_pod("again"))
    for n in range(TIMES):
        tool.add()
        assert ping(node, tool.pod.v4) and (n % 10 or ping(node, tool.pod.v6))
        if n % 10 == 0:
            tool("check")
        tool("del")
    tool("del")
    wait_for("nothing is left", lambda: not node.host_links() and not node.routes(4, 171) and "eth0" not in tool.pod.links())
    assert used(node) == 0 and node.manx("ipam", "check").returncode == 0 and node.show("status")["problems"] == []


def recreate(cluster, node):
    """A pod of that node, always of the same name: how many addresses it had."""
    pod = obj("v1", "Pod", "again-" + node.name, "default", labels={"app": "again"}, spec={
        "nodeName": node.name, "containers": [container()], "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False, "enableServiceLinks": False})
    seen = set()
    for _ in range(-(-TIMES // len(cluster.nodes))):
        cluster.kubectl("replace", "--force", "--grace-period=0", "-f", "-", input=json.dumps(pod))
        cluster.kubectl("wait", "--for=condition=Ready", "pod/" + pod["metadata"]["name"], "--timeout=60s", timeout=70)
        address = cluster.get("pod", pod["metadata"]["name"])["status"]["podIP"]
        assert ping(node, address), address
        seen.add(address)
    return len(seen)


def test_pod_of_one_name_under_the_kubelet(cluster):
    """A hundred times in all, on the three nodes at once; each has the address that it is said to have."""
    before = used(cluster.nodes[0])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        addresses = list(pool.map(lambda node: recreate(cluster, node), cluster.nodes))
    print("addresses: %s" % addresses)
    cluster.kubectl("delete", "pod", "-l", "app=again", "--wait=true", "--grace-period=0", "--force")
    wait_for("all addresses are given back", lambda: used(cluster.nodes[0]) == before, 30, 0.5)
    assert all(n.manx("ipam", "check").returncode == 0 for n in cluster.nodes)

"""`make check-load-api`: as tests/netns/load_kills.py, with a real API server as the datastore of the three nodes.  Their pods have
no Pod objects: a kubelet's would not come back as fast as they are killed."""
import hashlib
import importlib.util
import json

import pytest
from cluster import MANIFESTS, Cluster, obj
from lab import ROOT, Lab

spec = importlib.util.spec_from_file_location("load", ROOT / "tests" / "netns" / "load_kills.py")
load = importlib.util.module_from_spec(spec)
spec.loader.exec_module(load)


class World(load.World):
    calls = ["read", "write", "openat", "close", "sendto", "recvfrom", "sendmsg", "recvmsg", "epoll_wait", "epoll_ctl", "mmap", "munmap"]
    reach, wait_s = 12, 1.0
    passing = (11, 102)                     # the server may be slower than the agent's patience

    def __init__(self, nodes, cluster):
        super().__init__(nodes)
        self.cluster = cluster

    def identity(self, pod):
        return {}

    def objects(self, plural):
        return self.cluster.get(plural + ".crd.projectcalico.org")["items"]

    def link(self, container, pod):
        return "cali" + hashlib.sha1(container.encode()).hexdigest()[:11]


@pytest.fixture
def world():
    with Cluster(0) as cluster, Lab("api") as lab:
        cluster.kubectl("apply", "-f", str(MANIFESTS / "manx-crds.yaml"))
        nodes = [lab.node() for _ in range(3)]
        cluster.apply(*(obj("v1", "Node", node.name) for node in nodes))
        lab.fabric.batch("addr del 192.0.2.1/24 dev br0")       # that is the API server's
        cluster.batch("link add lab type veth peer name api netns " + lab.fabric.path, "link set lab master br0 up")
        lab.fabric.batch("link set api master br0 up")
        for node in nodes:
            node.start(encapsulation="none", ipam_reserve=2, datastore="kubernetes %s" % cluster.config, timeout=30)
            (node.dir / "run" / "del").mkdir(exist_ok=True)
        yield World(nodes, cluster)


def test_agents_and_plugins_are_killed_under_load_of_the_api(world):
    load.torment(world, load.KILLS)
    assert world.missed < world.kills * 4 / 5, "strace killed next to nothing"

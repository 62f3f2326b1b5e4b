"""What the kernel really refuses: more elements than it has memory for.

The agent is put into a memory cgroup that is raised step by step: what it needs itself it gets, only ever a
little late; the elements of one policy need far more than a step, so the kernel says no to them (ENOMEM).
"""
import json
import os
import pathlib
import time

import pytest

from lab import tcp, wait_for
from netpol.cluster import turn

CGROUPS = pathlib.Path("/sys/fs/cgroup/memory")
PEERS, FILE, STEP, STEP_S = 30000, 5000, 192 << 10, 0.15


class Memory:
    """A cgroup whose limit makes allocations of the kernel fail, instead of killing."""

    def __init__(self, name):
        self.path = CGROUPS / name
        self.path.mkdir()
        self.limit = STEP
        (self.path / "memory.oom_control").write_text("1")

    def raise_to(self, limit):
        self.limit = limit
        (self.path / "memory.limit_in_bytes").write_text(str(limit))

    def take(self, process):
        (self.path / "cgroup.procs").write_text(str(process.pid))

    def remove(self, process):
        self.raise_to(1 << 40)
        if process and process.poll() is None:
            (CGROUPS / "cgroup.procs").write_text(str(process.pid))
        wait_for("the cgroup is empty", lambda: self.is_removed())

    def is_removed(self):
        try:
            self.path.rmdir()
            return True
        except OSError:
            return False


@pytest.fixture
def memory():
    if not (CGROUPS / "memory.oom_control").exists():
        pytest.skip("no cgroup v1 of memory: the other one kills")
    found = Memory("manx-refused-%d" % os.getpid())
    found.process = None
    yield found
    found.remove(found.process)


def policy(name, app, **spec):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name},
            "spec": {"podSelector": {"matchLabels": {"app": app}}, **spec}}


def pod(name, labels, ip=None):
    found = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}}
    return {**found, "spec": {"nodeName": "elsewhere"}, "status": {"podIPs": [{"ip": ip}]}} if ip else found


def problems(node):
    """With patience: while it waits for memory the agent answers nothing."""
    answer = node.manx("status", "-o", "json", check=False)
    return [p["text"] for p in json.loads(answer.stdout)["problems"]] if answer.returncode == 0 else []


def test_policy_of_more_elements_than_the_kernel_has_memory_for(own_lab, memory):
    """Its own pods are closed, and it is named with the kernel's words; other policies go in; later it does."""
    lab, node = own_lab, own_lab.node().start(encapsulation="none")
    lab.write("pods.json", [pod("web", {"app": "web"}), pod("db", {"app": "db"})])
    for first in range(0, PEERS, FILE):
        lab.write("peers-%d.json" % first, [pod("peer-%d" % i, {"many": "yes"}, "10.100.%d.%d" % (i // 250, i % 250 + 1))
                                            for i in range(first, first + FILE)])
    turn(node, 60)
    web, db, other = node.pod("web"), node.pod("db"), node.pod("other")
    assert tcp(other, web.v4, web) and tcp(other, db.v4, db)
    memory.process = node.process
    memory.raise_to(STEP)
    memory.take(node.process)
    lab.write("many.json", policy("many", "web", ingress=[{"from": [{"podSelector": {"matchLabels": {"many": "yes"}}},
                                                                     {"podSelector": {"matchLabels": {"app": "db"}}}]}]))
    refused = "NetworkPolicy default/many: the kernel refuses it, its pods are closed: nf_tables"
    while refused not in node.log():
        assert memory.limit < 64 << 20, "it took them all"
        memory.raise_to(memory.limit + STEP)
        time.sleep(STEP_S)
    memory.raise_to(memory.limit + (1 << 20))
    wait_for("it is in the status", lambda: any(refused in text for text in problems(node)))
    assert "Out of memory" in node.log().split(refused)[1].split("\n")[0]
    assert not tcp(db, web.v4, web, 0.3) and not tcp(other, web.v4, web, 0.3), "its pods are closed"
    assert tcp(other, db.v4, db) and tcp(web, db.v4, db), "others are not"
    lab.write("db.json", policy("db", "db", ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]))
    wait_for("another policy is in force", lambda: not tcp(other, db.v4, db, 0.1))
    assert tcp(web, db.v4, db)
    memory.raise_to(1 << 40)
    wait_for("it is in force", lambda: tcp(db, web.v4, web, 0.2), 70)
    assert not tcp(other, web.v4, web, 0.3)
    wait_for("nothing is said of it any more", lambda: problems(node) == [])
    assert "policy default/many: in force" in node.log()

"""`make check-load`: agents of three nodes are killed at random system calls while all of them attach and detach pods.

Plugins are killed as well, as a runtime's time-out does it.  No address is given twice meanwhile; and whenever the load
rests, blocks, handles, links and routes are those of the live pods within a minute.  KILLS=1000, SEED=n.
"""
import os
import random
import threading
import time

import pytest

from lab import container_id, ping, wait_for
from tracing import inject, traced

KILLS = int(os.environ.get("KILLS", 1000))
SEED = int(os.environ.get("SEED", random.randrange(1 << 30)))
ROUND, PODS = 100, 4                    # kills between two rests; namespaces a node
PLUGINS, HELPERS = 0.1, 0.1             # shares: of plugin calls that are killed, of kills in another thread than the loop's
CALLS = ["read", "write", "openat", "close", "fstat", "flock", "pwrite64", "renameat", "unlinkat", "sendto", "recvfrom", "sendmsg",
         "recvmsg", "epoll_wait", "epoll_ctl", "accept4", "fcntl", "readlinkat", "newfstatat", "mmap", "munmap"]
PLUGIN_CALLS = ["read", "write", "openat", "close", "connect", "setns", "socket", "sendmsg", "recvfrom", "setsockopt"]


class Load:
    """Namespaces of one node, attached and detached by a thread each; what lives is known to all."""

    def __init__(self, world, node, rng):
        self.world, self.node, self.rng, self.threads = world, node, rng, []
        self.spaces = [node.new_pod("load-%d" % n) for n in range(PODS)]
        self.calls = self.plugins = 0

    def call(self, verb, pod, container):
        wrap = []
        if self.rng.random() < PLUGINS and not self.world.resting:
            wrap = ["strace", *inject(self.rng.choice(PLUGIN_CALLS), "signal=KILL", self.rng.randint(1, 8))]
        self.calls += 1
        answer = self.node.cni_start(verb, container, pod.path, wrap=wrap, **self.world.identity(pod)).finish(40)
        self.plugins += answer.code == -9
        return answer

    def attach(self, pod):
        """Until it is there, as a runtime does: after a failure everything anew, under another id."""
        while not self.world.resting:
            container = container_id("%s/%s/%d" % (self.node.name, pod.name, self.world.count()))
            answer = self.call("ADD", pod, container)
            if answer.code == 0:
                self.world.lives(container, self.node, pod, [ip.split("/")[0] for ip in answer.ips()])
                return container
            assert answer.code == -9 or answer.json["code"] in self.world.passing, answer.out
            self.detach(pod, container)
        return None

    def detach(self, pod, container):
        """As often as it takes."""
        while True:
            answer = self.call("DEL", pod, container)
            if answer.code == 0:
                return
            assert answer.code == -9, answer.out

    def churn(self, pod):
        try:
            while not self.world.resting:
                container = self.attach(pod)
                time.sleep(self.rng.random() * 0.05)
                if container and not self.world.resting:
                    self.world.ends(container)
                    self.detach(pod, container)
        except BaseException as e:
            self.world.failures.append(e)
            self.world.resting = True

    def start(self):
        self.threads = [threading.Thread(target=self.churn, args=(pod,), daemon=True) for pod in self.spaces]
        for t in self.threads:
            t.start()

    def join(self):
        for t in self.threads:
            t.join(90)
            assert not t.is_alive(), "a call that does not end"


class World:
    """The nodes; who lives, by container id."""
    passing = (11,)                         # codes of what will be better in a moment
    calls, reach, wait_s = CALLS, 10, 0.3   # killed at one of these, of so many, in that time

    def __init__(self, nodes):
        self.nodes, self.lock, self.live, self.counter = nodes, threading.Lock(), {}, 0
        self.resting, self.failures, self.kills, self.missed = True, [], 0, 0
        self.rng = random.Random(SEED)
        self.loads = [Load(self, node, random.Random("%d %s" % (SEED, node.name))) for node in nodes]

    def identity(self, pod):
        return pod.identity()

    def count(self):
        with self.lock:
            self.counter += 1
            return self.counter

    def lives(self, container, node, pod, ips):
        with self.lock:
            for other, (_, _, theirs) in self.live.items():
                assert not set(ips) & set(theirs), "%s: %s and %s" % (ips, container, other)
            self.live[container] = (node, pod, ips)

    def ends(self, container):
        with self.lock:
            return self.live.pop(container)

    def kill_one(self):
        """An agent, maybe one that has just been started, at the n-th call of some name from now; at once if it does not come to that."""
        load = self.rng.choice(self.loads)
        pid = load.node.process.pid
        helpers = [int(t) for t in os.listdir("/proc/%d/task" % pid) if int(t) != pid]
        thread = self.rng.choice(helpers) if self.rng.random() < HELPERS and helpers else pid
        with traced(thread, *inject(self.rng.choice(self.calls), "signal=KILL", self.rng.randint(1, self.reach))):
            end = time.monotonic() + self.wait_s
            while load.node.process.poll() is None and time.monotonic() < end:
                time.sleep(0.002)
        self.missed += load.node.process.poll() is None
        load.node.kill()
        load.node.start(wait=False)         # by this thread: they end with the one that started them
        self.kills += 1

    def round(self, kills):
        self.resting = False
        for load in self.loads:
            load.start()
        while kills and not self.failures:
            self.kill_one()
            kills -= 1
        for node in self.nodes:
            node.wait_ready(30)
        self.resting = True
        for load in self.loads:
            load.join()
        if self.failures:
            raise self.failures[0]

    # What there is against what lives.

    def objects(self, plural):
        return self.nodes[0].lab.objects(plural).values()

    def facts(self):
        held, twice = {}, []
        for block in self.objects("ipamblocks"):
            spec = block["spec"]
            for at in spec["allocations"]:
                handle = spec["attributes"][at].get("handle_id", "") if at is not None else ""
                if handle.startswith("k8s-pod-network."):
                    held[handle] = held.get(handle, 0) + 1
        handles = {o["spec"]["handleID"]: sum(o["spec"]["block"].values()) for o in self.objects("ipamhandles")
                   if o["spec"]["handleID"].startswith("k8s-pod-network.")}
        return {"held": held, "handles": handles, "twice": twice,
                "links": sorted(name for node in self.nodes for name in node.host_links()),
                "routes": sorted(r for node in self.nodes for f in (4, 6) for r in node.routes(f, 171)),
                "notes": [n for node in self.nodes for n in os.listdir(node.dir / "run" / "del") if n[0] != "."],
                "checks": [node.manx("ipam", "check", check=False).returncode for node in self.nodes],
                "problems": [p for node in self.nodes for p in node.show("status")["problems"]]}

    def settled(self):
        """Seconds until there is what the live pods have, and nothing else."""
        held = {"k8s-pod-network." + c: len(ips) for c, (_, _, ips) in self.live.items()}
        want = {"held": held, "handles": held, "twice": [], "links": sorted(self.link(c, pod) for c, (_, pod, _) in self.live.items()),
                "routes": sorted(ip for _, _, ips in self.live.values() for ip in ips), "notes": [],
                "checks": [0] * len(self.nodes), "problems": []}
        begun, have = time.monotonic(), dict.fromkeys(want)

        def fits():
            have.update(self.facts())
            return have == want
        try:
            wait_for("what the pods have", fits, 60, 0.2)
        except AssertionError:
            raise AssertionError({k: (want[k], have[k]) for k in want if want[k] != have[k]})
        for node, pod, ips in self.live.values():
            assert all(ping(node, ip) for ip in ips), (node.name, pod.name, ips)
        return time.monotonic() - begun

    def link(self, container, pod):
        return pod.host_if

    def clear(self):
        for container in list(self.live):
            node, pod, _ = self.ends(container)
            node.cni("DEL", container, pod.path, **self.identity(pod)).ok()


def torment(world, kills):
    """So many kills, with a rest after each round of them."""
    print("seed %d" % SEED)
    while world.kills < kills:
        world.round(min(ROUND, kills - world.kills))
        print("%d kills (%d at a time of their own), %d calls, %d plugins killed, %d pods live: settled after %.1f s" % (
            world.kills, world.missed, sum(load.calls for load in world.loads), sum(load.plugins for load in world.loads), len(world.live),
            world.settled()), flush=True)
        world.clear()
        world.settled()


@pytest.fixture
def world(own_lab):
    nodes = [own_lab.node().start(encapsulation="none", ipam_reserve=2) for _ in range(3)]
    for node in nodes:
        (node.dir / "run" / "del").mkdir(exist_ok=True)
    return World(nodes)


def test_agents_and_plugins_are_killed_under_load(world):
    torment(world, KILLS)
    assert world.missed < world.kills * 4 / 5, "strace killed next to nothing"

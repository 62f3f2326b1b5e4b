"""An agent, or a plugin, that is killed at any system call of an ADD or a DEL, while other pods talk.

Afterwards the call is answered as it would have been, or tried again; blocks, handles, links and routes are
those of the live pods; and no packet of the others was lost.  KILL_POINTS: so many calls of each, evenly spread
(all when unset).
"""
import contextlib
import os
import signal
import time

import pytest

from lab import ping, wait_for
from stream import Stream
from tracing import inject, system_calls, traced

POINTS = int(os.environ.get("KILL_POINTS", 1 << 30))
BUSY_S = 0.15           # what an agent does after its answer: the reaper's links, handles, endpoints


def spread(calls):
    return calls if len(calls) <= POINTS else [calls[i * len(calls) // POINTS] for i in range(POINTS)]


def killing(point):
    return inject(point[0], "signal=KILL", point[1])


class World:
    """A pod that is killed at; two that live and talk."""

    def __init__(self, lab):
        self.lab = lab
        self.node, self.far = lab.node().start(), lab.node().start()
        self.stays, self.other = self.node.pod("stays"), self.far.pod("other")
        for family in ("v4", "v6"):
            wait_for("traffic across nodes", lambda: ping(self.other, getattr(self.stays, family)))
        self.pod = self.node.new_pod("killed")
        self.pod.add()              # the namespace's settings are written only once
        self.pod.delete().ok()
        self.settled(self.stays)

    def facts(self):
        """What there is of this node's pods: addresses by handle, links, routes."""
        node, held = self.node, {}
        for block in node.objects("ipamblocks").values():
            spec = block["spec"]
            for at in spec["allocations"]:
                a = spec["attributes"][at] if at is not None else {}
                if a.get("secondary", {}).get("node") == node.name and "pod" in a["secondary"]:
                    held[a["handle_id"]] = held.get(a["handle_id"], 0) + 1
        handles = {o["spec"]["handleID"]: sum(o["spec"]["block"].values()) for name, o in node.objects("ipamhandles").items()
                   if o["spec"]["handleID"].startswith("k8s-pod-network.")}
        return {"held": held, "handles": handles, "links": sorted(node.host_links()),
                "routes": sorted([*node.routes(4, 171), *node.routes(6, 171)]),
                "endpoints": sorted(o["spec"]["containerID"] for o in node.objects("workloadendpoints").values()
                                    if o["spec"]["node"] == node.name),
                "notes": [n for n in os.listdir(node.dir / "run" / "del") if n[0] != "."]
                if (node.dir / "run" / "del").exists() else [],
                "problems": node.show("status")["problems"], "pods": node.show("status")["cni"]["pods"]}

    def settled(self, *pods):
        """Waits until there is what these pods have, and nothing else."""
        held = {"k8s-pod-network." + p.container: 2 for p in pods}
        other = {"k8s-pod-network." + self.other.container: 2}
        want = {"held": held, "handles": {**held, **other}, "links": sorted(p.host_if for p in pods),
                "routes": sorted(a for p in pods for a in (p.v4, p.v6)), "endpoints": sorted(p.container for p in pods),
                "notes": [], "problems": [], "pods": len(pods)}
        have = {}

        def fits():
            have.update(self.facts())
            return have == want
        try:
            wait_for("what the pods have", fits)
        except AssertionError:
            raise AssertionError({k: (want[k], have[k]) for k in want if want[k] != have[k]})
        assert self.node.manx("ipam", "check").returncode == 0

    def works(self):
        self.pod.check().ok()
        assert ping(self.node, self.pod.v4) and ping(self.node, self.pod.v6)

    def thread(self, which):
        """The main thread, or the reaper's."""
        pid = self.node.process.pid
        return sorted(map(int, os.listdir("/proc/%d/task" % pid)), key=lambda t: (t != pid, t))[which]

    def begin(self, verb, **kw):
        """The call, under way."""
        return {"ADD": self.pod.start_add, "DEL": self.pod.start_delete, "CHECK": self.pod.start_check}[verb](**kw)

    def ready_for(self, verb):
        if verb != "ADD":
            self.pod.add()
            time.sleep(BUSY_S)

    def finish(self, verb, answer):
        """As a runtime goes on: an ADD that failed is tried again, one that did not is as good as another."""
        pod = self.pod
        if verb == "ADD":
            before = answer.ips() if answer.code == 0 else None
            assert before or answer.code in (-signal.SIGKILL, 1), answer.out
            assert before or answer.code < 0 or answer.json["code"] == 11, answer.json
            pod.add()
            assert before in (None, [p + ("/32" if "." in p else "/128") for p in (pod.v4, pod.v6)])
            self.works()
            self.settled(self.stays, pod)
            pod.delete().ok()
        elif verb == "CHECK" or answer.code == -signal.SIGKILL:
            pod.delete().ok()
        else:
            answer.ok()
        self.settled(self.stays)

    def record(self, verb, path, which):
        """The system calls of a thread of the agent, or (None) of the plugin, when all goes well."""
        self.ready_for(verb)
        with contextlib.nullcontext() if which is None else traced(self.thread(which), "-o", str(path)):
            answer = self.begin(verb, wrap=["strace", "-qq", "-o", str(path)] if which is None else ()).finish().ok()
            time.sleep(BUSY_S)
        if verb == "ADD":
            self.pod.added(answer)
        if verb != "DEL":
            self.pod.delete().ok()
        self.settled(self.stays)
        return system_calls(path)

    def kill_agent(self, verb, which, point):
        """False: the agent did not get there."""
        self.ready_for(verb)
        with traced(self.thread(which), *killing(point)):
            call = self.begin(verb)
            end = time.monotonic() + 5
            while self.node.process.poll() is None and time.monotonic() < end:
                if call.process.poll() is not None:
                    end = min(end, time.monotonic() + BUSY_S)
                time.sleep(0.002)
        dead = self.node.process.poll() is not None
        self.node.kill()
        self.node.start()
        self.finish(verb, call.finish())
        return dead


@pytest.fixture(scope="module")
def world(lab):
    return World(lab)


@contextlib.contextmanager
def bystanders(world):
    """A pod of the node is asked a thousand times a second meanwhile, in each family, and always answers."""
    with Stream.ping(world.other, world.stays) as four, Stream.ping(world.other, world.stays, "v6") as six:
        yield
    for s in (four, six):
        print("%d of %d echo requests answered, %.0f a second" % (s.got, s.sent, s.sent / s.seconds))
        assert s.sent > 100 * s.seconds, "too few"
        assert s.got == s.sent, "lost: %s" % s.lost


@pytest.mark.parametrize("verb,which", [("ADD", 0), ("DEL", 0), ("DEL", 1)], ids=["ADD", "DEL", "DEL, the reaper"])
def test_agent_that_is_killed_at_any_system_call(world, tmp_path, verb, which):
    points = world.record(verb, tmp_path / "trace", which)
    assert len(points) > (20 if which == 0 else 3), points
    with bystanders(world):
        dead = [world.kill_agent(verb, which, point) for point in spread(points)]
    print("%d of %d kills, of %d calls" % (sum(dead), len(dead), len(points)))
    assert sum(dead) >= len(dead) // 2, "strace killed next to nothing"


@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK"])
def test_plugin_that_is_killed_at_any_system_call(world, tmp_path, verb):
    points = spread(world.record(verb, tmp_path / "trace", None)[1:])       # without the execve itself
    killed = 0
    with bystanders(world):
        for point in points:
            world.ready_for(verb)
            answer = world.begin(verb, wrap=["strace", *killing(point)]).finish()
            killed += answer.code == -signal.SIGKILL
            world.finish(verb, answer)
    assert killed == len(points)

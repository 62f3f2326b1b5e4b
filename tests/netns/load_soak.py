"""`make check-soak MINUTES=20`: a thousand ADDs and a thousand DELs a minute; then descriptors, memory, links, routes, rules and
files are as before."""
import concurrent.futures
import json
import os
import random
import time

import pytest

from lab import container_id, ping, wait_for

MINUTES = float(os.environ.get("MINUTES", 20))
RATE, SPACES, SEED = 1000, 16, int(os.environ.get("SEED", random.randrange(1 << 30)))


def attach_and_detach(node, space, n):
    """One pod's life, of any length up to half a second, in one of the namespaces."""
    container = container_id("soak-%d" % n)
    identity = {"namespace": "default", "pod": "pod-%d" % n, "uid": ""}
    answer = node.cni("ADD", container, space.path, **identity).ok()
    time.sleep(random.random() * 0.5)
    node.cni("DEL", container, space.path, **identity).ok()
    return answer.ms


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def elements(node):
    rows = json.loads(node.run("nft", "-j", "list", "table", "inet", "manx").stdout)["nftables"]
    return {kind: sum(1 for row in rows if kind in row) for kind in ("chain", "rule", "set", "map")}, \
        sum(len(row[kind].get("elem", [])) for row in rows for kind in ("set", "map") if kind in row)


def facts(node):
    pid = node.process.pid
    return {"descriptors": len(os.listdir("/proc/%d/fd" % pid)), "threads": len(os.listdir("/proc/%d/task" % pid)),
            "links": sorted(node.links()), "routes": sorted([*node.routes(4), *node.routes(6)]), "rules": elements(node),
            "blocks": {b["cidr"]: (b["used"], b["free"]) for b in node.show("ipam", "show")["blocks"]},
            "files": files(node.lab.store / ".manx"), "run": files(node.dir / "run"), "state": files(node.dir / "state"),
            "problems": node.show("status")["problems"]}


def memory_kb(node):
    with open("/proc/%d/status" % node.process.pid) as f:
        return int(next(line for line in f if line.startswith("VmRSS")).split()[1])


def load(node, spaces, minutes, numbers):
    """The rate is kept by the clock: who is late goes on at once."""
    begun, free, took = time.monotonic(), list(spaces), []
    total = int(RATE * minutes)
    with concurrent.futures.ThreadPoolExecutor(len(spaces)) as pool:
        running = {}
        for n in range(total):
            time.sleep(max(0, begun + n * 60 / RATE - time.monotonic()))
            while not free:
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for f in done:
                    free.append(running.pop(f))
                    took.append(f.result())
            space = free.pop(0)
            running[pool.submit(attach_and_detach, node, space, next(numbers))] = space
        took += [f.result() for f in running]
    return total / (time.monotonic() - begun) * 60, sorted(took)


@pytest.mark.parametrize("reserve", [8])
def test_a_thousand_a_minute(own_lab, reserve):
    random.seed(SEED)
    node = own_lab.node().start(encapsulation="none", ipam_reserve=reserve)
    stay = [node.pod("stays-%d" % n) for n in range(3)]
    spaces, numbers = [node.new_pod("space-%d" % n) for n in range(SPACES)], iter(range(1 << 30))
    load(node, spaces, 0.25, numbers)
    time.sleep(12)                      # blocks that are not needed any more go back after ten seconds
    before, memory = facts(node), memory_kb(node)
    print("seed %d; %d kB, %d descriptors" % (SEED, memory, before["descriptors"]), flush=True)
    left = MINUTES
    while left > 0:
        rate, took = load(node, spaces, min(1, left), numbers)
        left -= 1
        print("%.0f ADDs and DELs a minute; ADD median %.1f ms, 99 of 100 in %.1f ms; %d kB" % (
            rate, took[len(took) // 2], took[len(took) * 99 // 100], memory_kb(node)), flush=True)
        assert rate > RATE / 2, "the machine is too slow"
    have = {}

    def as_before():
        have.update(facts(node))
        return have == before
    try:
        wait_for("all is as before", as_before, 30, 0.5)
    except AssertionError:
        raise AssertionError({k: (before[k], have[k]) for k in before if before[k] != have[k]})
    assert all(ping(node, p.v4) and ping(node, p.v6) for p in stay)
    time.sleep(2)
    assert memory_kb(node) <= memory + 64, "%d kB before, %d kB after" % (memory, memory_kb(node))

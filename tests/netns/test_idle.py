"""An agent with pods and nothing to do: it only waits, and holds little memory."""
import re
import time

import pytest

from lab import wait_for

PODS, REST_S, WATCH_S, RSS_MAX = 10, 2, 10, 0.6 * 2 ** 20
WAITS = ("epoll_pwait", "restart_syscall", "poll", "ppoll", "read")     # the loop's, and its threads'


@pytest.fixture(scope="module")
def idle(lab):
    one, two = lab.node().start(encapsulation="vxlan"), lab.node().start(encapsulation="vxlan")
    for i in range(PODS):
        one.pod("web-%d" % i)
    two.pod("db-0")
    wait_for("everything is written", lambda: len(lab.objects("workloadendpoints")) == PODS + 1)
    time.sleep(REST_S + 1)
    return one


def rss(node):
    with open("/proc/%d/status" % node.process.pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024


def test_idle_agent_holds_little_memory(idle):
    assert rss(idle) < RSS_MAX, "%d KiB" % (rss(idle) // 1024)


def test_idle_agent_only_waits(idle, tmp_path):
    with idle.traced("-f", "-o", str(tmp_path / "trace")):
        time.sleep(WATCH_S)
    lines = (tmp_path / "trace").read_text().splitlines()
    assert lines, "nothing was traced"
    calls = [re.sub(r"^\d+ +", "", line) for line in lines]
    assert [c for c in calls if not c.startswith(WAITS)] == []
    assert len([c for c in calls if c.startswith("epoll_pwait")]) <= 1, calls


def test_agent_that_rested_works_and_rests_again(idle):
    pod = idle.pod("late")
    assert pod.check().code == 0
    pod.delete().ok()
    wait_for("it rests again", lambda: rss(idle) < RSS_MAX, timeout=REST_S + 3, step=0.2)

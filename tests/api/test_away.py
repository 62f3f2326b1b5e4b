"""The API is away, for some of the nodes or for all."""
import signal
import time

import pytest

from api import POLICIES, count, cpu_s, etcd_put, given_twice, policy, rss_kib, settled
from lab import ping, tcp, wait_for


def test_what_others_borrow_meanwhile_nobody_has_twice(lab):
    """The API is cut for one; two takes addresses of one's only block; one adds pods; the API is back."""
    one, two = lab.node(), lab.node()
    settings = {"pool": "10.42.0.0/28", "block_size": 28, "ipam_reserve": 4}
    one.start(**settings)
    one.pod("first")
    two.start(**settings)
    assert len(lab.objects("ipamblocks")) == 1
    wait_for("the reserve is there", lambda: count(one, "reserved") == 4)
    with one.cut():
        borrowed = [two.pod("b%d" % i) for i in range(4)]
        own = [one.pod("a%d" % i) for i in range(4)]
        assert given_twice(lab) == []
        own.pop().delete().ok()
        one.wait_state("away", 40)
    one.wait_state("synced", 40)

    def assigned():
        block, = lab.objects("ipamblocks").values()
        handles = [a.get("handle_id", "") for a in block["spec"]["attributes"]]
        return all(any(h.endswith(p.container) for h in handles) for p in own)
    wait_for("loans are assignments", assigned)
    one.pod("after")
    assert given_twice(lab) == []
    assert one.show("ipam", "check") == {"leaked": [], "duplicate": []}
    assert all(ping(p, q.v4) for p in borrowed[:2] for q in own[:2])


def most_rss(pid, seconds):
    """Tries come and go, and each holds buffers for a while."""
    end, most = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        most = max(most, rss_kib(pid))
        time.sleep(0.1)
    return most


@pytest.mark.parametrize("how", ["killed", "stopped", "dropped", "no etcd"])
def test_an_outage_costs_next_to_nothing(lab, how):
    """What a day of it would: after the first tries all goes on at the same pace, so a minute says it."""
    node = lab.node().start(ipam_reserve=8)
    pod = node.pod("before")
    server = lab.api.servers["kube-apiserver"]
    if how == "killed":
        server.end(signal.SIGKILL)
    elif how == "stopped":
        server.send(signal.SIGSTOP)
    elif how == "no etcd":
        lab.api.servers["etcd"].end(signal.SIGKILL)
    with node.cut("drop" if how == "dropped" else "counter"):
        if how == "no etcd":
            time.sleep(20)              # watches go on for as long as the server keeps them
        else:
            node.wait_state("away", 60)
            time.sleep(8)
        pid = node.process.pid
        lines, cpu, at = node.log().count("\n"), cpu_s(pid), time.monotonic()
        rss, later = most_rss(pid, 25), most_rss(pid, 25)
        share, grown, said = (cpu_s(pid) - cpu) / (time.monotonic() - at), later - rss, node.log().count("\n") - lines
        print("%s: CPU %.2f %%, RSS %d KiB + %d, %d lines" % (how, 100 * share, rss, grown, said))
        assert share < 0.01 and grown <= 40 and said <= 1, node.log()
        assert node.show("status")["ready"] and ping(node, pod.v4)
        pod.delete().ok()
    if how == "stopped":
        server.send(signal.SIGCONT)
    elif how == "killed":
        server.start()
    elif how == "no etcd":
        lab.api.servers["etcd"].start()
    node.wait_state("synced", 60)
    wait_for("what was freed meanwhile is free", lambda: count(node, "used") == 0, 20)


def remote_pod(i):
    ip = "10.42.%d.%d" % (100 + i // 250, 1 + i % 250)
    return ("pods/default/r%d" % i, {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "r%d" % i, "namespace": "default", "uid": "00000000-0000-0000-0000-%012d" % i,
                                                        "creationTimestamp": "2026-11-01T00:00:00Z", "labels": {"app": "remote"}},
        "spec": {"nodeName": "elsewhere", "containers": [{"name": "c", "image": "x"}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}})


def in_kernel(node):
    """How many of the remote pods' addresses the node's sets have."""
    return node.run("nft", "list", "table", "inet", "manx").stdout.count("10.42.1")


def test_back_with_5000_changed_objects(lab):
    """Converged in 5 s, and no packet of what goes on is lost."""
    import sys
    sys.path.insert(0, "tests/cluster")
    from test_trouble import Traffic
    node = lab.node().start()
    web, db = node.pod("web", labels={"app": "web"}), node.pod("db", labels={"app": "db"})
    lab.call("POST", POLICIES, policy("db", "db", "web"))
    wait_for("the policy holds", lambda: not tcp(node.pod("other"), db.v4, db, 0.3), 20)
    with Traffic(web, db) as traffic:
        with node.cut():
            node.wait_state("away", 60)
            etcd_put(lab.api, [remote_pod(i) for i in range(4900)])
            for i in range(99):
                lab.call("POST", POLICIES, policy("more-%d" % i, "web" if i % 2 else "db", "remote" if i % 3 else "web"))
            lab.call("POST", POLICIES, policy("remote", "db", "remote"))
        begun = time.monotonic()
        wait_for("all are in the kernel", lambda: in_kernel(node) >= 4900, 30, 0.05)
        took = time.monotonic() - begun
        node.wait_state("synced")
        time.sleep(1)
    print("5,000 objects after %.2f s; sent %d, opened %d; RSS %d KiB" % (took, traffic.sent, traffic.opened, rss_kib(node.process.pid)))
    assert traffic.sent > 500 and (traffic.lost, traffic.failed) == (0, 0)
    assert took < 5


@pytest.mark.parametrize("again", ["restart", "reboot"])
def test_an_agent_starts_while_the_api_is_away(lab, again):
    """From what was last known: policy, addresses from the reserve; also when the machine was started anew."""
    node = lab.node().start(ipam_reserve=8)
    lab.call("POST", POLICIES, policy("db", "db", "friend"))
    pods = {name: node.pod(name, labels={"app": name}) for name in ("db", "friend", "enemy")}
    settled(node, pods)
    wait_for("the reserve is there", lambda: count(node, "reserved") == 8)
    taken = {p.v4 for p in pods.values()}
    lab.api.servers["kube-apiserver"].end(signal.SIGKILL)
    node.wait_state("away", 40)
    if again == "reboot":
        node.reboot()
        begun = time.monotonic()
        node.start()
        pods = {name: super(type(node), node).pod(name) for name in ("db", "friend", "enemy")}
    else:
        node.kill()
        begun = time.monotonic()
        node.start()
    print("%s: ready after %.1f s" % (again, time.monotonic() - begun))
    assert node.state == "away"
    settled(node, pods)
    late = super(type(node), node).pod("late")
    assert given_twice(lab) == [] and late.v4 not in taken
    assert ping(node, late.v4)
    lab.api.servers["kube-apiserver"].start()
    node.wait_state("synced", 60)
    settled(node, pods)
    wait_for("all is in order", lambda: node.show("ipam", "check") == {"leaked": [], "duplicate": []} and count(node, "used") == 4, 30)

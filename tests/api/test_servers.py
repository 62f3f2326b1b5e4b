"""Several API servers, credentials that change, two agents of one name, lists in pages."""
import signal
import time

import pytest
from api import POLICIES, ApiLab, count, etcd_put, policy
from lab import wait_for
from test_away import remote_pod


def test_the_next_server_when_one_dies_or_hangs(lab):
    """Changes arrive by the second within seconds; and by the first again when the second dies."""
    first, second = lab.api.servers["kube-apiserver"], lab.api.second(6444)
    node = lab.node().start(api_address="192.0.2.1:6443,192.0.2.1:6444")
    other = lab.client.__class__(lab.api, 6444)

    def arrives(client, name):
        begun = time.monotonic()
        client.call("POST", POLICIES, policy(name, "x", "y"))
        wait_for("%s is known" % name, lambda: '"%s"' % name in node.manx("get", "networkpolicies", "-o", "json", check=False).stdout, 60, 0.05)
        return time.monotonic() - begun
    print("both: %.2f s" % arrives(other, "zero"))
    first.end(signal.SIGKILL)
    took = arrives(other, "one")
    print("one killed: %.2f s" % took)
    assert took < 5
    first.start()
    wait_for("it is ready", lab.api.is_ready, 60, 0.2)
    second.send(signal.SIGKILL)
    second.popen.wait()
    lab.client.conn = None
    took = arrives(lab.client, "two")
    print("the other killed: %.2f s" % took)
    assert took < 5
    node.wait_state("synced", 10)
    assert "level=err" not in node.log()


def test_a_server_that_vanishes_is_noticed(lab):
    """Its packets do no longer come, nobody says so: the watches go on at the other server within 30 s."""
    second = lab.api.second(6444)
    node = lab.node().start(api_address="192.0.2.1:6443,192.0.2.1:6444")
    node.run("nft", "add table inet cut; add chain inet cut in { type filter hook input priority 0; }; add rule inet cut in tcp sport 6443 drop")
    begun = time.monotonic()
    lab.call("POST", POLICIES, policy("late", "x", "y"))
    wait_for("it is known", lambda: '"late"' in node.manx("get", "networkpolicies", "-o", "json", check=False).stdout, 60, 0.1)
    took = time.monotonic() - begun
    print("noticed after %.1f s" % took)
    assert took < 33 and second.popen.poll() is None
    node.run("nft", "delete table inet cut")
    node.wait_state("synced", 10)


def test_a_token_that_is_refused_and_its_successor(lab):
    """A bad token: said once, nothing is lost.  The next one is taken up by itself."""
    node = lab.node().start()
    was = lab.token.read_text()
    lab.token.write_text(was[:-10] + "0123456789")
    lab.api.servers["kube-apiserver"].end(signal.SIGKILL)       # its connections end
    lab.api.servers["kube-apiserver"].start()
    wait_for("it is said", lambda: any("(401)" in p["text"] for p in node.show("status")["problems"]), 100)
    assert node.show("status")["ready"]
    time.sleep(3)
    assert node.log().count("(401)") == 1 and was.strip()[-40:] not in node.log()
    begun = time.monotonic()
    lab.token_write()
    node.wait_state("synced", 40)
    print("synced %.1f s after the new token" % (time.monotonic() - begun))
    assert node.pod("a").v4


def test_two_agents_of_one_name(lab):
    """Named on one of them at least, and they do not fight."""
    one, two = lab.node("twin"), lab.node("other", register=False)
    one.start()
    pod = one.pod("a")
    two.start(node_name="twin", wait=False)
    wait_for("it is said", lambda: "by another program" in one.log() + two.log(), 20)
    time.sleep(2)
    version = lab.call("GET", "/api/v1/nodes/twin")["metadata"]["resourceVersion"]
    time.sleep(5)
    assert lab.call("GET", "/api/v1/nodes/twin")["metadata"]["resourceVersion"] == version
    assert count(one, "used") == 1 and pod.v4
    assert (one.log() + two.log()).count("by another program") <= 4 and any("another agent" in p["text"] for n in (one, two) for p in n.show("status")["problems"])


@pytest.fixture
def paged_lab():
    with ApiLab(api_args=["--feature-gates=WatchList=false"]) as made:
        yield made


def test_lists_that_do_not_stream(paged_lab):
    """A server that streams no lists; it may answer with all at once."""
    lab = paged_lab
    lab.call("POST", POLICIES, policy("db", "db", "remote"))
    etcd_put(lab.api, [remote_pod(i) for i in range(1700)])
    node = lab.node().start()
    wait_for("all are known", lambda: len([line for line in node.manx("get", "pods").stdout.splitlines() if " r" in line]) == 1700, 20, 0.2)
    etcd_put(lab.api, [remote_pod(i) for i in range(1700, 1750)])
    wait_for("later ones too", lambda: len([line for line in node.manx("get", "pods").stdout.splitlines() if " r" in line]) == 1750, 20, 0.2)
    lists = [a for a in lab.api.audit() if a[0] == "list" and a[2] == "pods"]
    assert lists and node.state == "synced"


def test_nothing_is_written_at_idle(lab):
    """Neither to the API nor to the disk, with pods and policies there."""
    node = lab.node().start(ipam_reserve=4)
    lab.call("POST", POLICIES, policy("db", "db", "web"))
    for i in range(3):
        node.pod("p%d" % i)
    time.sleep(4)
    wait_for("Calico's annotations are none of ours", lambda: node.state == "synced")
    before, io = len(lab.api.audit()), written(node)
    time.sleep(15)
    assert [a for a in lab.api.audit()[before:] if a[0] not in ("watch", "list", "get")] == []
    assert written(node) == io


def written(node):
    text = open("/proc/%d/io" % node.process.pid).read()
    return next(line for line in text.splitlines() if line.startswith("wchar"))


def test_the_command_line_says_why(lab):
    node = lab.node().start()
    lab.api.servers["kube-apiserver"].end(signal.SIGKILL)
    node.wait_state("away", 40)
    (node.dir / "pool.json").write_text('{"apiVersion":"crd.projectcalico.org/v1","kind":"IPPool","metadata":{"name":"default-ipv4-ippool"}}')
    done = node.manx("delete", "-f", node.dir / "pool.json", check=False)
    assert done.returncode and "the datastore is away" in done.stderr, done

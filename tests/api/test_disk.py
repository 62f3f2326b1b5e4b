"""What is known is kept in a file for each kind; files rot, and disks are full."""
import signal

import pytest
from api import POLICIES, closed, policy, settled
from lab import run, wait_for
from spaces import MNT_DETACH, libc


def known(node):
    return node.dir / "state" / "cluster"


@pytest.fixture
def alone(lab):
    """A node with a policy that is kept; its API server is dead, and the agent too."""
    node = lab.node().start(ipam_reserve=8)
    lab.call("POST", POLICIES, policy("db", "db", "friend"))
    pods = {name: node.pod(name, labels={"app": name}) for name in ("db", "friend", "enemy")}
    settled(node, pods)
    wait_for("it is kept", lambda: '"db"' in (known(node) / "networkpolicies").read_text())
    lab.api.servers["kube-apiserver"].end(signal.SIGKILL)
    node.kill()
    return node, pods


GARBAGE = {"a byte in a line": lambda b: b.replace(b'"matchLabels"', b'"matchLa\x00els"'), "cut": lambda b: b[:len(b) // 2],
           "empty": lambda b: b"", "noise": lambda b: bytes(range(256)) * 40, "a directory": None}


@pytest.mark.parametrize("how", GARBAGE)
def test_policies_that_rotted_open_nothing(alone, how):
    """The agent says so once and waits for the server: the kernel has the policy still."""
    node, pods = alone
    path = known(node) / "networkpolicies"
    was = path.read_bytes()
    path.unlink()
    if GARBAGE[how]:
        path.write_bytes(GARBAGE[how](was))
    else:
        path.mkdir()
    node.start(wait=False)
    wait_for("it is said", lambda: "networkpolicies: " in node.log() and "not used" in node.log(), 10)
    assert closed(pods) and not node.show("status")["ready"]
    assert node.log().count("not used") == 1
    node.lab.api.servers["kube-apiserver"].start()
    node.wait_ready(60)
    settled(node, pods)


def test_another_kind_goes_on_with_what_is_left(alone):
    node, pods = alone
    path = known(node) / "namespaces"
    path.write_bytes(b'{"metadata":{"name":"x"\x00}}\n' + path.read_bytes())
    node.start()
    assert "namespaces: 1 lines are not what was written" in node.log()
    settled(node, pods)


def test_a_full_disk(lab):
    """Said once; what is on it goes, for it would lack something; the next list finds room."""
    node = lab.node()
    state = node.dir / "state"
    run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", state])
    try:
        node.start()
        pods = {name: node.pod(name, labels={"app": name}) for name in ("db", "friend", "enemy")}
        filler = state / "filler"
        run(["dd", "if=/dev/zero", "of=%s" % filler, "bs=4k"], check=False)
        for i in range(60):
            lab.call("POST", POLICIES, policy("p%d" % i, "db", "friend"))
        wait_for("it is said", lambda: [p for p in node.show("status")["problems"] if "is not kept" in p["text"]], 10)
        settled(node, pods)
        assert node.log().count("is not kept") == 1 and not (known(node) / "networkpolicies").exists()
        filler.unlink()
        lab.api.servers["kube-apiserver"].end(signal.SIGKILL)      # its watches end
        lab.api.servers["kube-apiserver"].start()
        node.restart()
        wait_for("it is kept again", lambda: '"p59"' in (known(node) / "networkpolicies").read_text() if (known(node) / "networkpolicies").exists() else False, 60)
    finally:
        node.end()
        libc.umount2(str(state).encode(), MNT_DETACH)

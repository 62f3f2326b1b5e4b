"""Rough treatment of the request's side: what is refused is refused once, and nothing is left of it."""
import resource
import socket

import pytest

from lab import BINARY, ping, run, wait_for


@pytest.fixture(scope="module")
def one(lab):
    return lab.node().start()


def used(node):
    return sum(b["used"] for b in node.show("ipam", "show")["blocks"])


def connect(node):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.connect(node.socket_path)
    return s


def test_a_configuration_of_four_megabytes_is_refused(one):
    pod = one.new_pod("wordy")
    pod.start_add(conf={"more": "x" * (4 << 20)}).finish().refused(5, "stdin")
    assert "eth0" not in pod.links() and used(one) == 0


def test_a_thousand_connections_keep_nobody_out(one):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    idle = []
    try:
        idle += [connect(one) for _ in range(1000)]
        pod = one.pod("patient")
        assert ping(one, pod.v4)
        pod.delete().ok()
    finally:
        for s in idle:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_for("the addresses are given back", lambda: used(one) == 0)


@pytest.mark.waits
def test_whoever_accepts_nobody_is_not_waited_for(one, lab):
    """The queue of the socket is full: what comes now has no place in it."""
    path = str(lab.dir / "deaf.sock")
    pod = one.new_pod("unheard")
    with socket.socket(socket.AF_UNIX) as deaf, socket.socket(socket.AF_UNIX) as first:
        deaf.bind(path)
        deaf.listen(0)
        first.connect(path)
        calls = [pod.start_add(conf={"socket": path}),
                 one.cni_start("STATUS", None, None, None, conf={"socket": path, "cniVersion": "1.1.0"})]
        ask = run([BINARY, "status", "--socket", path], check=False)
        assert ask.returncode == 1 and ask.stderr == "manx: %s: Operation timed out\n" % path
        for call, code in zip(calls, (11, 50)):
            answer = call.finish()
            answer.refused(code, path, "timed out")
            assert 4_000 < answer.ms < 8_000


@pytest.mark.parametrize("text", [b"", b"\x01", b"\x01\x01\0\0\0\0\0\x20CNI_COMMAND=ADD", b"\xff" * 64, b"\x01\x01\0\0\xff\xff\xff\xff"])
def test_whoever_hangs_up_in_the_middle_harms_nobody(one, text):
    for _ in range(20):
        with connect(one) as s:
            s.sendall(text)
    pod = one.pod("unharmed")
    pod.delete().ok()
    wait_for("the addresses are given back", lambda: used(one) == 0)


def test_a_namespace_that_dies_right_after_its_add_leaves_nothing(one):
    for i in range(5):
        pod = one.new_pod("short-lived-%d" % i)
        call = pod.start_add()
        pod.remove()
        call.finish()
        one.cni("DEL", pod.container, None, **pod.identity()).ok()
    wait_for("no link is left", lambda: not one.host_links())
    wait_for("the addresses are given back", lambda: used(one) == 0)

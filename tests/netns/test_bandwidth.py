"""The capability bandwidth: how much goes to a pod, and from it, in real traffic."""
import signal
import socket
import threading
import time

import pytest

from lab import ping, wait_for

RATE, BURST = 8_000_000, 400_000        # 1 MB a second, 50 kB at once
SOME = 1_000_000


@pytest.fixture(scope="module")
def node(lab):
    return lab.node().start()


@pytest.fixture(scope="module")
def other(node):
    return node.pod("other")


def limits(**kw):
    return {"runtimeConfig": {"bandwidth": kw}}


def shaped(node, name, **kw):
    pod = node.new_pod(name)
    pod.conf = limits(**(kw or {"ingressRate": RATE, "ingressBurst": BURST, "egressRate": RATE, "egressBurst": BURST}))
    return pod.added(pod.start_add(conf=pod.conf).finish())


def seconds(source, target, address, size=SOME):
    """How long that many bytes take from source to target."""
    with target.socket(socket.AF_INET, socket.SOCK_STREAM) as there, source.socket(socket.AF_INET, socket.SOCK_STREAM) as here:
        there.bind(("0.0.0.0", 0))
        there.listen(1)
        here.settimeout(20)
        here.connect((address, there.getsockname()[1]))
        peer, _ = there.accept()
        peer.settimeout(20)
        begin = time.monotonic()
        sender = threading.Thread(target=here.sendall, args=(bytes(size),))
        sender.start()
        got = 0
        with peer:
            while got < size:
                got += len(peer.recv(65536))
        sender.join()
        return time.monotonic() - begin


def tc(node, *words):
    return node.run("tc", *words).stdout


def ifb(pod):
    return "bwp" + pod.host_if[4:]


def is_limited(source, target, address):
    took = seconds(source, target, address)
    return SOME / 1.5e6 < took < SOME / 0.5e6


def test_both_ways(node, other):
    pod = shaped(node, "both")
    assert ping(other, pod.v4) and ping(pod, other.v6)
    assert is_limited(other, pod, pod.v4), "to it"
    assert is_limited(pod, other, other.v4), "from it"
    assert seconds(other, other, other.v4) < 0.3
    pod.check(conf=pod.conf).ok()
    pod.delete().ok()
    wait_for("the device has gone with it", lambda: ifb(pod) not in node.links())


def test_one_way(node, other):
    pod = shaped(node, "down", ingressRate=RATE, ingressBurst=BURST)
    assert ifb(pod) not in node.links()
    assert is_limited(other, pod, pod.v4) and seconds(pod, other, other.v4) < 0.3
    up = shaped(node, "up", egressRate=RATE, egressBurst=BURST)
    assert seconds(other, up, up.v4) < 0.3 and is_limited(up, other, other.v4)
    none = shaped(node, "none", ingressRate=0, ingressBurst=0)
    assert "tbf" not in tc(node, "qdisc", "show", "dev", none.host_if)
    for p in (pod, up, none):
        p.delete().ok()


def test_spoofing_is_no_easier(node, other):
    """What comes back from the device is judged as what came in by the host end."""
    pod = shaped(node, "spoofer")
    pod.ip("addr", "add", "10.42.9.99/32", "dev", "eth0")
    with pod.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, other.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind(("0.0.0.0", 0))
        there.settimeout(0.3)
        s.bind(("10.42.9.99", 0))
        s.sendto(b"x", (other.v4, there.getsockname()[1]))
        with pytest.raises(TimeoutError):
            there.recv(1)
    pod.delete().ok()


@pytest.mark.parametrize("harm", ["qdisc del dev {host} root", "qdisc del dev {host} ingress", "qdisc del dev {ifb} root",
                                  "qdisc replace dev {host} root tbf rate 1gbit burst 1mb latency 25ms",
                                  "filter del dev {host} ingress", "LINK"])
def test_repaired(node, other, harm):
    pod = shaped(node, "harmed")
    if harm == "LINK":
        node.run("ip", "link", "del", ifb(pod))
    else:
        tc(node, *harm.format(host=pod.host_if, ifb=ifb(pod)).split())
    wait_for("it is as before", lambda: pod.check(conf=pod.conf).code == 0)
    assert is_limited(other, pod, pod.v4) and is_limited(pod, other, other.v4)
    pod.delete().ok()


def test_check_names_it(node):
    pod = shaped(node, "checked")
    node.process.send_signal(signal.SIGSTOP)
    try:
        tc(node, "qdisc", "del", "dev", pod.host_if, "root")
        call = pod.start_check(conf=pod.conf)
    finally:
        node.process.send_signal(signal.SIGCONT)
    answer = call.finish()
    assert answer.code == 0 or "token bucket" in answer.json["msg"]
    pod.delete().ok()


def test_over_the_agents_death(node, other):
    pod, gone = shaped(node, "stays"), shaped(node, "goes")
    node.kill()
    gone.remove()
    wait_for("its link has gone", lambda: gone.host_if not in node.links())
    tc(node, "qdisc", "del", "dev", pod.host_if, "root")
    node.start()
    wait_for("no device is left of the pod that went", lambda: ifb(gone) not in node.links())
    assert is_limited(other, pod, pod.v4) and is_limited(pod, other, other.v4)
    before = node.links()[ifb(pod)]["ifindex"]
    node.restart()
    assert node.links()[ifb(pod)]["ifindex"] == before, "what is right is left alone"
    again = pod.added(pod.start_add(conf=pod.conf).finish())
    assert again.v4 and node.links()[ifb(pod)]["ifindex"] == before
    pod.delete().ok()
    wait_for("all is gone", lambda: not [n for n in node.links() if n.startswith("bwp")])
    assert not list((node.dir / "run" / "ports").iterdir())


def test_a_new_sandbox_of_the_pod(node, other):
    old = shaped(node, "twice")
    new = shaped(node, "twice")
    old.delete().ok()
    time.sleep(0.6)
    assert ifb(new) in node.links() and is_limited(new, other, other.v4)
    last = node.new_pod("twice")
    last.add()
    new.delete().ok()
    wait_for("an unlimited one has none", lambda: ifb(last) not in node.links())
    assert seconds(last, other, other.v4) < 0.3
    last.delete().ok()


@pytest.mark.parametrize("asked, word", [
    ({"ingressRate": RATE}, "ingressBurst"), ({"egressBurst": BURST}, "egressBurst"), ({"ingressRate": -1, "ingressBurst": 1}, "ingressRate"),
    ({"egressRate": "1M", "egressBurst": 1}, "egressRate"), ({"egressRate": 1, "egressBurst": 8 * 2 ** 33}, "4 GiB"), ([], "object")])
def test_bad(node, asked, word):
    pod = node.new_pod("bad")
    pod.start_add(conf={"runtimeConfig": {"bandwidth": asked}}).finish().refused(7, "bandwidth", word)
    assert pod.host_if not in node.host_links()


def test_a_burst_below_a_frame_lets_frames_through(node, other):
    pod = shaped(node, "tiny", ingressRate=RATE, ingressBurst=8, egressRate=RATE, egressBurst=8)
    assert seconds(other, pod, pod.v4, 100_000) < 2 and seconds(pod, other, other.v4, 100_000) < 2
    big = shaped(node, "kubelet", ingressRate=50_000_000_000, ingressBurst=2 ** 32 - 1, egressRate=50_000_000_000, egressBurst=2 ** 32 - 1)
    assert seconds(other, big, big.v4) < 0.3
    big.check(conf=big.conf).ok()
    pod.delete().ok(), big.delete().ok()

"""How long the agent waits for a Kubernetes API that says nothing; the limits are the real ones, so all is waited for at once."""
import concurrent.futures
import time

import pytest

import lab as labs
from kube_client import TIMEOUT, ca, clients, good, program, servers  # noqa: F401

CLONE_NEWNET = 0x40000000
pytestmark = pytest.mark.waits


def stalls_end(client, server):
    """No handshake, no answer, an answer drop by drop, a chunk that stays away, a watch in silence; all at once."""
    def slow(send, request):
        if request.path == "/none":
            time.sleep(60)
        elif request.path == "/drop":
            send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(50):
                send(b"x")
                time.sleep(1)
        else:
            send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n" + (b"9\r\nx" if request.path == "/chunk" else b""))
            time.sleep(60)
    s, mute = server(slow), server()
    mute.serve = lambda plain: time.sleep(60)
    c, other = client(s), client(mute)
    begin = time.monotonic()
    silent = c.start("GET", "/silent", "stream", "silence=1500")
    watching = c.start("GET", "/silent", "stream")
    shaking = other.start("GET", "/")
    rest = [c.start("GET", "/none"), c.start("GET", "/drop"), c.start("GET", "/chunk", "stream")]
    assert c.end(silent)[::2] == (TIMEOUT, "127.0.0.1:%d: silence" % s.port) and time.monotonic() - begin < 4
    assert other.end(shaking, 15)[0] == TIMEOUT and time.monotonic() - begin < 12
    for n in rest:
        assert c.end(n, 40)[0] == TIMEOUT
        assert 28 < time.monotonic() - begin < 36
    assert c.kept[watching] and not any(line.startswith("end") for line in c.kept[watching])


def black_hole_is_noticed(client, server):
    """In a network namespace of this thread and those that it starts."""
    assert labs.libc.unshare(CLONE_NEWNET) == 0
    labs.run(["ip", "link", "set", "lo", "up"])
    s = server(lambda send, request: send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n") or time.sleep(60))
    c = client(s)
    n = c.start("GET", "/watch", "stream")
    assert c.wait(n, "data") == ["2", "hi"]
    labs.run(["nft", "add table inet x; add chain inet x i { type filter hook input priority 0; }; add rule inet x i tcp dport %d drop; "
              "add rule inet x i tcp sport %d drop" % (s.port, s.port)])
    begin = time.monotonic()
    assert c.end(n, 40)[0] == TIMEOUT
    assert time.monotonic() - begin < 30
    begin = time.monotonic()
    assert c.call("GET", "/")[0] == TIMEOUT		# and a new connection is given up soon
    assert time.monotonic() - begin < 5


@pytest.fixture(scope="module")
def outcome(program, ca, good, tmp_path_factory):  # noqa: F811
    """outcome(what) waits for its end, and fails as it did."""
    def begin(what):
        with clients(program, tmp_path_factory.mktemp("clients"), ca) as client, servers(good) as server:
            what(client, server)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        begun = {what: pool.submit(begin, what) for what in (stalls_end, black_hole_is_noticed)}
        yield lambda what: begun[what].result()


def test_stalls_end(outcome):
    outcome(stalls_end)


def test_a_black_hole_is_noticed(outcome):
    outcome(black_hole_is_noticed)

"""What goes over a connection to the Kubernetes API: requests, bodies, watches, many at once."""
import os
import pathlib
import queue
import re
import time

import pytest

from kube_client import RESET, Client, ca, client, good, program, server  # noqa: F401
from lab import built
from tls_server import Authority, context, eventually, ok


@pytest.mark.parametrize("kind", ["ec", "rsa", "p384"])
def test_keys_of_each_kind(client, server, ca, tmp_path, kind):
    own = Authority(tmp_path / ("ca-" + kind), kind)
    s = server(tls=context(*own.issue(kind=kind)))
    c = client(s, own)
    assert c.first == "open 127.0.0.1:%d" % s.port
    assert c.call("GET", "/version") == (200, 2)
    assert s.requests[0].headers["Authorization"] == "Bearer s3cret"
    assert s.requests[0].headers["Host"] == "127.0.0.1:%d" % s.port
    assert s.requests[0].path == "/version"


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"])
def test_ciphers(client, server, good, cipher):
    tls = context(*good)
    tls.set_ciphers(cipher)
    s = server(ok(b"x" * 300000), tls)
    assert client(s).call("GET", "/") == (200, 300000)


def test_a_connection_is_used_again(client, server):
    s = server()
    c = client(s)
    for _ in range(5):
        assert c.call("GET", "/api") == (200, 2)
    assert len(s.peers) == 1


def test_bodies_go_out_whole(client, server):
    s = server(lambda send, request: ok(b"%d" % len(request.body))(send, request))
    c = client(s)
    n = c.start("PUT", "/x", "bytes=300000")
    assert c.wait(n, "data") == ["6", "300000"]
    assert c.end(n) == (200, 6)
    assert s.requests[0].headers["Content-Type"] == "application/json"
    assert c.call("POST", "/x", "bytes=0") == (200, 1)


def test_calls_side_by_side(client, server):
    s = server(ok(b"y" * 100000))
    c = client(s)
    for n in [c.start("GET", "/%d" % i) for i in range(16)]:
        assert c.end(n) == (200, 100000)
    assert len(s.peers) == 16


def test_chunks_in_any_split(client, server):
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n, you.\r\n0\r\nT: x\r\n\r\n"

    def pieces(send, request):
        step = int(request.path[1:])
        for at in range(0, len(body), step):
            send(body[at:at + step])
    c = client(server(pieces))
    for step in range(1, len(body), 7):
        assert c.call("GET", "/%d" % step) == (200, 11)


def test_a_watch_comes_as_it_is_sent(client, server):
    gate = queue.Queue()

    def watch(send, request):
        send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        while (piece := gate.get()) is not None:
            send(b"%x\r\n%s\r\n" % (len(piece), piece))
        send(b"0\r\n\r\n")
    c = client(server(watch))
    n = c.start("GET", "/watch", "stream")
    assert c.wait(n, "head") == ["200", "0", "1"]
    for word in [b"one", b"two"]:
        gate.put(word)
        assert c.wait(n, "data") == ["3", word.decode()]
    gate.put(None)
    assert c.end(n)[1] == 6


def test_the_end_of_the_connection_ends_a_body_only_in_good_order(client, server):
    s = server(lambda send, request: send(b"HTTP/1.1 200 OK\r\n\r\nall of it") or False)
    assert client(s).call("GET", "/") == (200, 9)
    s = server(lambda send, request: (send(b"HTTP/1.1 200 OK\r\n\r\nall of it"), time.sleep(0.2), s.cut()))
    code, _, text = client(s).call("GET", "/")
    assert code == RESET


def test_the_answer_s_head_is_told(client, server):
    s = server(lambda send, request: send(b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"))
    c = client(s)
    n = c.start("GET", "/")
    assert c.wait(n, "head") == ["429", "7", "0"]


def test_a_path_before_every_path(client, server):
    s = server()
    assert client("https://127.0.0.1:%d/k8s/clusters/c-1/" % s.port).call("GET", "/api") == (200, 2)
    assert s.requests[0].path == "/k8s/clusters/c-1/api"


def test_cancelled_calls_say_nothing_more(client, server):
    s = server(lambda send, request: time.sleep(0.3) or ok()(send, request))
    c = client(s)
    a, b = c.start("GET", "/a"), c.start("GET", "/b")
    c.say("cancel %d" % a)
    assert c.end(b) == (200, 2)
    assert not c.kept[a]


def test_callbacks_may_start_and_cancel(client, server):
    s = server(ok(b"z" * 50000))
    c = client(s)
    n = c.start("GET", "/", "again=20")
    assert c.end(n) == (200, 21 * 50000) and len(s.peers) == 1
    for where in ["head", "data"]:
        n, before = c.start("GET", "/" + where, "again=5", "stop=" + where), len(s.requests)
        assert c.wait(n, "end") == ["stopped"]
        eventually("six requests", lambda: len(s.requests) == before + 6)
    assert c.call("GET", "/") == (200, 50000)


def test_memory(tmp_path, server, ca):
    """Eight watches that have had megabytes through them, idle."""
    def watch(send, request):
        piece = b"x" * 100000
        send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            send(b"%x\r\n%s\r\n" % (len(piece), piece))
        time.sleep(30)
    s = server(watch)
    c = Client(built("build/%s/kube_call" % os.uname().machine), tmp_path, "https://127.0.0.1:%d" % s.port, ca.cert)

    def rss():
        text = pathlib.Path("/proc/%d/smaps_rollup" % c.process.pid).read_text()
        return int(re.search(r"Private_Dirty: *(\d+)", text).group(1))
    before = rss()
    for i in range(8):
        c.start("GET", "/%d" % i, "stream")
    eventually("eight connections", lambda: len(s.peers) == 8)
    time.sleep(2)
    grown = rss() - before
    print("private memory of 8 watches: %d KiB" % grown)
    c.close()
    assert grown < 160

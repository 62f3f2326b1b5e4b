"""Faults of the Kubernetes API that show at once: servers that are gone, connections that end, answers that are none."""
import pathlib

import pytest

from kube_client import CONNREFUSED, PROTO, RESET, ca, client, good, program, server  # noqa: F401
from tls_server import Authority, context, eventually, ok


def test_the_next_server_is_asked(client, server, ca, good):
    a = server(address="127.0.0.1")
    b = server(address="127.0.0.2", port=a.port)
    where = "127.0.0.1:%d,127.0.0.2:%d" % (a.port, a.port)
    c = client("https://127.0.0.1:%d" % a.port, api_address=where)
    assert c.call("GET", "/") == (200, 2) and len(a.requests) == 1
    a.stop()
    assert c.call("GET", "/") == (200, 2) and len(b.requests) == 1
    a = server(address="127.0.0.1", port=b.port)
    assert c.call("GET", "/") == (200, 2) and len(b.requests) == 2		# it stays with who answered
    b.stop()
    assert c.call("GET", "/") == (200, 2) and len(a.requests) == 1
    a.stop()
    code, unsure, text = c.call("GET", "/")
    assert code == CONNREFUSED and not unsure and "Connection refused" in text
    b = server(address="127.0.0.2", port=b.port, tls=context(*Authority(pathlib.Path(ca.dir) / "x").issue()))
    a = server(address="127.0.0.1", port=b.port)
    assert c.call("GET", "/") == (200, 2)			# one whose certificate is bad counts as dead


def test_an_idle_connection_may_have_been_closed(client, server):
    s = server()
    c = client(s)
    assert c.call("GET", "/") == (200, 2)
    s.cut()
    assert c.call("GET", "/") == (200, 2)
    closing = server(lambda send, request: ok()(send, request) or (request.path == "/last" and False))
    c = client(closing)
    assert c.call("GET", "/last") == (200, 2)
    eventually("its end", lambda: closing.connections[-1].fileno() < 0)
    assert c.call("PUT", "/x", "body={}") == (200, 2)


def test_a_write_without_an_answer_is_unsure(client, server):
    s = server(lambda send, request: s.cut() if request.method == "PUT" else ok()(send, request))
    c = client(s)
    assert c.call("GET", "/") == (200, 2)
    code, unsure, text = c.call("PUT", "/x", "body={}")
    assert unsure and "127.0.0.1:%d: " % s.port in text
    assert len([r for r in s.requests if r.method == "PUT"]) == 1


@pytest.mark.parametrize("answer,code", [
    (b"SSH-2.0-OpenSSH\r\n", PROTO), (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", PROTO),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", PROTO), (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 20000, PROTO),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", RESET), (b"HTTP/1.1 200 OK\r\n", RESET), (b"", RESET),
])
def test_bad_answers(client, server, answer, code):
    s = server(lambda send, request: send(answer) or False)
    assert client(s).call("GET", "/")[0] == code


def test_a_connection_with_something_left_over_is_not_used_again(client, server):
    s = server(lambda send, request: send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
    c = client(s)
    for _ in range(3):
        assert c.call("GET", "/") == (200, 2)
    assert len(s.peers) == 3

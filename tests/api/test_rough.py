"""
An API server as no real one is, which an agent meets at its first start or in the middle of its life: one clear line, no flood,
nothing forgotten, and all is well as soon as the server is.
"""
import gzip
import json
import sys
import time

import pytest
from lab import ROOT, Lab, wait_for

sys.path.append(str(ROOT / "tests" / "netns"))
from tls_server import Authority, Server, context  # noqa: E402

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
LISTED = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "10", "annotations": {"k8s.io/initial-events-end": "true"}}}}
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge-1", "uid": "u", "resourceVersion": "5"},
        "spec": {"podCIDR": "10.42.0.0/24", "podCIDRs": ["10.42.0.0/24"]}}
SPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "uid": "u", "resourceVersion": "5"}}


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(obj, type="ADDED"):
    return chunk(json.dumps({"type": type, "object": obj}).encode() + b"\n")


def whole(status, body, more=""):
    return ("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n" % (status, len(body), more)).encode() + body


JSON = "Content-Type: application/json\r\n"
HTML = b"<html>\n<head><title>502 Bad Gateway</title></head>\n<body>\n<center><h1>502 Bad Gateway</h1></center>\n<hr>nginx a b c d\n</body></html>\n"


class Api:
    """answers: what it says instead of the truth, to requests whose path has that in it."""

    def __init__(self, lab, tls):
        self.fault, self.part, self.asked = None, "/", []
        with lab.fabric.entered():
            self.server = Server(tls, self.answer, port=6443, address="192.0.2.1")

    def answer(self, send, request):
        self.asked.append((time.monotonic(), request.method, request.path))
        if self.fault and self.part in request.path:
            return self.fault(send, request)
        return self.truth(send, request)

    def truth(self, send, request):
        if request.path == "/apis":
            return send(whole("200 OK", b'{"groups":[]}', JSON))
        if request.path == "/readyz":
            return send(whole("200 OK", b"ok", "Content-Type: text/plain\r\n"))
        if request.method == "PATCH":
            for key, value in json.loads(request.body)["metadata"]["annotations"].items():
                if value:
                    NODE["metadata"].setdefault("annotations", {})[key] = value
            return send(whole("200 OK", json.dumps(NODE).encode(), JSON))
        if "?limit=" in request.path:
            items = [obj for plural, obj in (("/nodes?", NODE), ("/namespaces?", SPACE)) if plural in request.path]
            return send(whole("200 OK", json.dumps({"metadata": {"resourceVersion": "10"}, "items": items}).encode(), JSON))
        if "watch=1" not in request.path:
            return send(whole("404 Not Found", b"{}", JSON))
        send(CHUNKED)
        if "sendInitialEvents" in request.path:
            for plural, obj in (("/nodes?", NODE), ("/namespaces?", SPACE)):
                if plural in request.path:
                    send(event(obj))
            send(chunk(json.dumps(LISTED).encode()))
        time.sleep(300)

    def turn(self, fault, part="/"):
        """From now on; connections end, as when a server is replaced."""
        self.part, self.fault = part, fault
        self.server.cut()


@pytest.fixture
def world(rough, request):
    """All is well before each test, for long enough that what was before is forgotten."""
    node, api = rough
    if api.fault:
        api.turn(None)
    wait_for("all is well", lambda: state(node) == "synced" and problems(node) == [], 40, 0.05)
    time.sleep(2.1)
    yield node, api
    api.fault = api.fault or (lambda send, request: False)
    if any(what in request.node.name for what in ("HTTP/1.0", "without a version")):
        node.end()                              # it does not ask for streams any more
        api.turn(None)
        node.start()


@pytest.fixture(scope="module")
def rough(tmp_path_factory):
    with Lab("rough") as lab:
        node = lab.node()
        ca = Authority(tmp_path_factory.mktemp("pki") / "kubernetes-ca")
        api = Api(lab, context(*ca.issue(san="IP:192.0.2.1")))
        (lab.dir / "kubeconfig").write_text(
            "current-context: c\ncontexts: [{ name: c, context: { cluster: k, user: u } }]\nclusters: [{ name: k, cluster: { server: "
            "'https://192.0.2.1:6443', certificate-authority: %s } }]\nusers: [{ name: u, user: { token: x } }]\n" % ca.cert)
        node.config.update(datastore="kubernetes %s" % (lab.dir / "kubeconfig"), encapsulation="none", pool="10.42.0.0/16")
        node.start()
        yield node, api
        node.end()
        api.server.stop()


def state(node):
    return node.show("status")["datastore"]["state"]


def problems(node):
    return [p["text"] for p in node.show("status")["problems"]]


def drip(send, request):
    send(CHUNKED)
    for byte in json.dumps({"type": "ADDED", "object": SPACE}):
        send(chunk(byte.encode()))
        time.sleep(0.3)


def says(data):
    return lambda send, request: send(data) and None


def http10(send, request):
    return send(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps({"type": "ADDED", "object": SPACE}).encode()) or False


def closes(data):
    return lambda send, request: send(data) or False


def watched(text):
    """A stream that says so and stays."""
    def say(send, request):
        send(CHUNKED)
        send(chunk(text))
        time.sleep(3)
        return False
    return say


FAULTS = {
    "a proxy's 502": (says(whole("502 Bad Gateway", HTML, "Content-Type: text/html\r\n")), "(502)"),
    "a page of html": (says(whole("200 OK", HTML, "Content-Type: text/html\r\n")), "is no JSON"),
    "html that says it is json": (says(whole("200 OK", HTML, JSON)), "API server 192.0.2.1:6443: "),
    "a redirect": (says(whole("302 Found", b"", "Location: https://192.0.2.9/\r\n")), "(302)"),
    "gzip": (says(whole("200 OK", gzip.compress(b"{}"), JSON + "Content-Encoding: gzip\r\n")), "Content-Encoding that nobody asked for"),
    "HTTP/2": (says(b"HTTP/2 200\r\n\r\n"), "no HTTP/1.1"),
    "no HTTP": (closes(b"\x00" * 3000 + b"\n"), "no HTTP"),
    "a head without an end": (says(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000), "a head without an end"),
    "wrong chunks": (says(CHUNKED + b"zz\r\nhello\r\n"), "a chunk without a size"),
    "chunks that lie": (says(CHUNKED + b"5\r\nhello, you\r\n"), "a chunk that is longer than it says"),
    "a body that is cut": (closes(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"kind\":"), "ends before its end"),
    "unauthorized": (says(whole("401 Unauthorized", b'{"kind":"Status","message":"Unauthorized"}', JSON)), "Unauthorized (401)"),
    "its disk is full": (says(whole("500 Internal Server Error", b'{"kind":"Status","message":"etcdserver: mvcc: database space exceeded"}', JSON)), "space exceeded (500)"),
    "lists without a version": (says(whole("200 OK", b'{"kind":"List","items":[],"metadata":{}}', JSON)), "API server 192.0.2.1:6443: "),
    "garbage in a stream": (watched(b"\x01\x02 nonsense ]]]] }{ 17 " * 500), "API server 192.0.2.1:6443: "),
    "an unknown event": (watched(b'{"type":"RENAMED","object":{"metadata":{"name":"odd","resourceVersion":"20"}}}\n'), "no known type"),
    "closed at once": (lambda send, request: False, "closed the connection"),
    "HTTP/1.0": (http10, "API server 192.0.2.1:6443: "),
}


@pytest.mark.parametrize("what", FAULTS)
def test_in_the_middle_of_its_life(world, what):
    node, api = world
    fault, want = FAULTS[what]
    log = node.log()
    api.turn(fault)
    wait_for("%s is said" % want, lambda: any(want in p for p in problems(node)), 12, 0.05)
    asked = len(api.asked)
    time.sleep(2)
    new = node.log()[len(log):]
    assert new.count("\n") <= 3, new
    assert len(api.asked) - asked < 40, "it is not asked without a pause"
    assert node.show("status")["ready"]
    api.turn(None)
    wait_for("all is well", lambda: state(node) == "synced" and problems(node) == [], 8, 0.05)


OBJECTS = {
    "a line of 100 MiB": (b'{"type":"ADDED","object":{"metadata":{"name":"long","x":"' + b"x" * (100 << 20) + b'"}}}\n', "Namespace long: longer than 4 MiB"),
    "a depth of 10,000": (b'{"type":"ADDED","object":{"metadata":{"name":"deep","x":' + b"[" * 10000 + b"]" * 10000 + b"}}}\n", "Namespace deep: "),
    "keys twice": (b'{"type":"ADDED","object":{"metadata":{"name":"twice","resourceVersion":"20","labels":{"a":"b","a":"c"}}}}\n', "Namespace twice: "),
    "NUL": (b'{"type":"ADDED","object":{"metadata":{"name":"nul","resourceVersion":"20","labels":{"a":"\x00"}}}}\n', "Namespace nul: "),
    "no version": (b'{"type":"ADDED","object":{"metadata":{"name":"old"}}}\n', "Namespace old: metadata.resourceVersion: missing"),
    "no name": (b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"20"}}}\n', "Namespace without a name"),
    "a wrong type": (b'{"type":"ADDED","object":{"metadata":{"name":"odd","resourceVersion":"20","labels":7}}}\n', "Namespace odd: metadata.labels: want an object"),
}


@pytest.mark.parametrize("what", OBJECTS)
def test_an_object_is_refused_and_the_rest_goes_on(world, what):
    """Behind it in the same stream one comes that is good; memory is given back."""
    node, api = world
    text, want = OBJECTS[what]
    good = {"metadata": {"name": "good-%d" % (len(what) * 1000 + len(text) % 1000), "uid": "u", "resourceVersion": "30"}}
    gate = []

    def fault(send, request):
        send(CHUNKED)
        send(event(SPACE))
        for at in range(0, len(text), 1 << 20):
            send(chunk(text[at:at + (1 << 20)]))
        send(event(good))
        send(chunk(json.dumps(LISTED).encode()))
        while not gate:
            time.sleep(0.1)
        return False
    log = node.log()
    api.turn(fault, "/namespaces?")
    wait_for("it is said", lambda: any(want in p for p in problems(node)), 20, 0.05)
    wait_for("the next one is there", lambda: good["metadata"]["name"] in node.manx("get", "namespaces").stdout, 10, 0.05)
    new = node.log()[len(log):]
    assert len([line for line in new.splitlines() if "refused" in line]) == 1 and new.count("\n") <= 4, new
    rss = next(int(line.split()[1]) for line in open("/proc/%d/status" % node.process.pid) if line.startswith("VmRSS"))
    assert rss < 1600, rss
    gate.append(1)
    # The list that follows, of another server, has it no more.
    api.turn(lambda send, request: send(whole("410 Gone", b"{}", JSON)) if "sendInitial" not in request.path else api.truth(send, request), "/namespaces?")
    wait_for("it is a problem no more", lambda: not any(want in p for p in problems(node)), 8, 0.05)


@pytest.mark.parametrize("how", ["drips", "stalls"])
def test_a_start_at_a_server_that_is_too_slow(world, how):
    """From what was last known, after a while."""
    node, api = world
    node.end()
    api.turn(drip if how == "drips" else lambda send, request: time.sleep(60))
    begun = time.monotonic()
    node.start(timeout=40)
    print("%s: ready after %.1f s" % (how, time.monotonic() - begun))
    assert time.monotonic() - begun < 15
    api.turn(None)
    wait_for("all is well", lambda: state(node) == "synced" and problems(node) == [], 40, 0.1)


def test_busy_servers_are_left_alone(world):
    node, api = world
    api.turn(says(whole("429 Too Many Requests", b"{}", JSON + "Retry-After: 3\r\n")), "/namespaces?")
    wait_for("it is asked", lambda: "/namespaces?" in api.asked[-1][2], 5)
    time.sleep(7)
    times = [t for t, _, path in api.asked if "/namespaces?" in path][-3:]
    assert all(b - a > 2.9 for a, b in zip(times[-2:], times[-1:])), times
    assert state(node) == "synced"
    api.turn(None)
    wait_for("all is well", lambda: state(node) == "synced", 12, 0.05)

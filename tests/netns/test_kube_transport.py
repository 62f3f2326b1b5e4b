"""
The transport of the Kubernetes API alone: kube_call.c, built with sanitizers, against TLS servers on loopback whose
certificates, answers and faults are the tests'.
"""
import itertools
import os
import pathlib
import queue
import re
import ssl
import subprocess
import threading
import time

import pytest

import lab as labs
from tls_server import Authority, Server, context, eventually, joined, ok

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = ["store/kube_call", "store/kube_conn", "store/kube_login", "store/kube_trust", "model/config", "model/config_value"]
SOURCES += ["wire/" + name for name in "x509 der pem http kubeconfig yaml yaml_names yaml_plain json json_check json_fields json_out".split()]
SOURCES += ["base/" + name for name in "arena digest err fs hash log loop prefix str util".split()]
REFUSED, PROTO, TIMEOUT, RESET, CONNREFUSED = 129, 71, 110, 104, 111


def build(to, *flags):
    subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-g", "-fno-strict-aliasing", *flags, "-I", f"{ROOT}/src", "-o", to,
                    f"{ROOT}/tests/netns/kube_call.c", *[f"{ROOT}/src/{name}.c" for name in SOURCES], "-lbearssl", "-lyaml"],
                   check=True, timeout=300)
    return to


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("program") / "kube_call", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def small_program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("small") / "kube_call", "-Os", "-static")


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki") / "kubernetes-ca")


@pytest.fixture(scope="module")
def good(ca):
    return ca.issue()


class Client:
    """kube_call with a kubeconfig; events come as lists of words."""

    def __init__(self, program, folder, server, ca, user=None, api_address="", cluster=""):
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(
            "current-context: c\ncontexts: [{ name: c, context: { cluster: k, user: u } }]\n"
            "clusters: [{ name: k, cluster: { server: \"%s\", certificate-authority: %s%s } }]\nusers: [{ name: u, user: { %s } }]\n" %
            (server, ca, cluster, user or "token: s3cret"))
        self.process = subprocess.Popen([program, self.kubeconfig, api_address], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=open(folder / "log", "w"), text=True, bufsize=1)
        self.log = folder / "log"
        self.numbers = itertools.count()
        self.lines, self.kept = queue.Queue(), {}
        threading.Thread(target=self.read, daemon=True).start()
        self.first = self.lines.get(timeout=20)

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put("")

    def start(self, method, path, *more):
        n = next(self.numbers) % 64
        self.kept[n] = []
        self.say("start %d %s %s %s" % (n, method, path, " ".join(more)))
        return n

    def say(self, line):
        self.process.stdin.write(line + "\n")

    def wait(self, n, kind, timeout=10.0):
        """The next event of that kind of call n, its words behind the number."""
        end = time.monotonic() + timeout
        while True:
            for i, line in enumerate(self.kept[n]):
                if line.startswith(kind + " "):
                    del self.kept[n][i]
                    return line.split(" ", 4)[2:]
            line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            words = line.split(" ", 2)
            if len(words) > 1:
                self.kept[int(words[1])].append(line)

    def call(self, method, path, *more, timeout=10.0):
        """(status, bytes of the body) or (code of the error, unsure, its text)."""
        n = self.start(method, path, *more)
        return self.end(n, timeout)

    def end(self, n, timeout=10.0):
        status, end = 0, time.monotonic() + timeout
        while True:
            line = self.kept[n].pop(0) if self.kept[n] else None
            if line is None:
                more = self.lines.get(timeout=max(0.01, end - time.monotonic()))
                assert more, self.log.read_text()
                self.kept[int(more.split(" ", 2)[1])].append(more)
                continue
            kind, _, rest = line.split(" ", 2)
            if kind == "head":
                status = int(rest.split()[0])
            elif kind == "end" and rest.startswith("ok"):
                return status, int(rest.split()[1])
            elif kind == "end":
                code, unsure, text = rest.split(" ", 2)
                return int(code), unsure == "1", text

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(10)
        assert self.process.returncode in (0, 5), self.log.read_text()


@pytest.fixture
def client(program, tmp_path, ca):
    made = []

    def make(server, authority=None, **kw):
        url = server if isinstance(server, str) else "https://127.0.0.1:%d" % server.port
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Client(program, folder, url, getattr(authority or ca, "cert", authority), **kw))
        return made[-1]
    yield make
    for c in made:
        c.close()


@pytest.fixture
def server(good):
    made = []

    def make(answer=None, tls=None, **kw):
        made.append(Server(tls if tls is not None else context(*good), answer or ok(), **kw))
        return made[-1]
    yield make
    for s in made:
        try:
            s.stop()
        except OSError:
            pass


# --- what works ---

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


# --- who the server is ---

def refusal(c):
    code, unsure, text = c.call("GET", "/")
    assert code == REFUSED and not unsure, text
    return text


@pytest.mark.parametrize("issue,want", [
    (dict(end="20260601000000Z"), "its certificate expired on 2026-06-01 00:00"),
    (dict(start="20950101000000Z"), "its certificate is not valid before 2095-01-01 00:00"),
    (dict(san="DNS:kubelet,IP:10.0.0.1"), "its certificate is for kubelet, 10.0.0.1, not for kubernetes.default.svc or 127.0.0.1"),
    (dict(san="IP:10.0.0.1"), "its certificate is for 10.0.0.1, not for"),
    (dict(san=None, name="kubernetes.default.svc"), "its certificate is for no name at all"),
    (dict(san="DNS:*.default.svc"), "its certificate is for *.default.svc, not for"),
    (dict(ext="extendedKeyUsage=critical,clientAuth\nbasicConstraints=CA:FALSE\n"), None),
    (dict(ext="nameConstraints=critical,permitted;DNS:x\n"), "has a critical extension that is not supported"),
    (dict(kind="ed25519"), "Ed25519"),
])
def test_bad_certificates(client, server, ca, issue, want):
    s = server(tls=context(*ca.issue(**issue)))
    text = refusal(client(s)) if want else None
    assert not want or (want in text and text.startswith("127.0.0.1:%d: " % s.port))


@pytest.mark.parametrize("san", ["IP:127.0.0.1", "DNS:kubernetes.default.svc", "DNS:other,DNS:Kubernetes.Default.SVC"])
def test_addresses_and_names(client, server, ca, san):
    assert client(server(tls=context(*ca.issue(san=san)))).call("GET", "/") == (200, 2)


def test_unknown_authorities(client, server, ca, good, tmp_path):
    other = Authority(tmp_path / "other-ca")
    assert "is not signed by the cluster's CA" in refusal(client(server(tls=context(*other.issue()))))
    same_name = Authority(tmp_path / "kubernetes-ca")
    assert "its certificate" in refusal(client(server(tls=context(*same_name.issue()))))
    self_signed = Authority(tmp_path / "self")
    assert "its certificate" in refusal(client(server(tls=context(self_signed.cert, self_signed.key))))
    leaf_as_ca = Authority(tmp_path / "leaf", parent=ca, ca=False)
    cert, key = leaf_as_ca.issue()
    assert "is signed by one that is no CA" in refusal(client(server(tls=context(joined(tmp_path / "chain", cert, leaf_as_ca.cert), key))))


def test_chains(client, server, ca, tmp_path):
    one = Authority(tmp_path / "one", parent=ca)
    two = Authority(tmp_path / "two", "rsa", parent=one)
    cert, key = two.issue()
    in_order = joined(tmp_path / "a", cert, two.cert, one.cert, ca.cert)
    reverse = joined(tmp_path / "b", cert, ca.cert, one.cert, two.cert)
    missing = joined(tmp_path / "c", cert, one.cert)
    assert client(server(tls=context(in_order, key))).call("GET", "/") == (200, 2)
    assert client(server(tls=context(reverse, key))).call("GET", "/") == (200, 2)
    assert "is not signed by the cluster's CA" in refusal(client(server(tls=context(missing, key))))
    assert client(server(tls=context(cert, key)), joined(tmp_path / "both", ca.cert, two.cert)).call("GET", "/") == (200, 2)


def test_signatures_that_are_not_supported_have_names(client, server, tmp_path):
    pss = Authority(tmp_path / "pss-ca", "rsa", sigopt=("-sigopt", "rsa_padding_mode:pss"))
    assert "its certificate is signed with RSA-PSS: not supported" in refusal(client(server(tls=context(*pss.issue())), pss))
    ed = Authority(tmp_path / "ed-ca", "ed25519")
    c = client("https://127.0.0.1:1", ed)
    assert c.first.startswith("refused 22 ") and "no CA certificate that can be used" in c.first
    assert "a CA whose key is Ed25519: not supported" in c.log.read_text()
    both = joined(tmp_path / "both", ed.cert, pss.cert)
    assert "signed with Ed25519: not supported" in refusal(client(server(tls=context(*ed.issue())), both))


def test_names_of_servers(client, server, ca, tmp_path):
    s = server(tls=context(*ca.issue(san="DNS:api.example")))
    url = "https://api.example:%d" % s.port
    c = client(url)
    assert c.first.startswith("refused 22 ") and "api.example: not in /etc/hosts" in c.first and "api_address" in c.first
    assert client(url, api_address="127.0.0.1").call("GET", "/") == (200, 2)
    assert s.requests[0].headers["Host"] == "api.example:%d" % s.port
    assert client(s, cluster=", tls-server-name: api.example").call("GET", "/") == (200, 2)
    assert "not for other.example" in refusal(client(s, cluster=", tls-server-name: other.example"))
    assert "not for kubernetes.default.svc or 127.0.0.1" in refusal(client(s))
    hosts = tmp_path / "hosts"
    hosts.write_text("# api.example\n127.0.0.9 x # api.example\n127.0.0.1\tother API.Example\n::1 api.example.org\n")
    labs.run(["mount", "--bind", hosts, "/etc/hosts"])
    try:
        assert client(url).call("GET", "/") == (200, 2)
    finally:
        labs.run(["umount", "/etc/hosts"])


@pytest.mark.parametrize("setting,want", [
    (dict(minimum_version=ssl.TLSVersion.TLSv1_3), "it wants TLS 1.3, which is not supported"),
    (dict(ciphers="AES128-SHA256"), "it has no cipher and key in common"),
])
def test_other_tls(client, server, good, setting, want):
    tls = context(*good)
    if "ciphers" in setting:
        tls.set_ciphers(setting.pop("ciphers"))
    for name, value in setting.items():
        setattr(tls, name, value)
    assert want in refusal(client(server(tls=tls)))


def test_what_is_no_tls(client, server):
    for text in [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\0" * 100, b"\x16\x03\x03\xff\xff" + b"x" * 100]:
        s = server()
        s.serve = lambda plain, text=text: (plain.sendall(text), time.sleep(1), plain.close())
        code, _, said = client(s).call("GET", "/")
        assert code in (REFUSED, RESET), said


# --- who we are ---

@pytest.mark.parametrize("kind", ["ec", "rsa", "p384"])
def test_client_certificates(client, server, ca, good, kind):
    cert, key = ca.issue("node-1", kind, san=None)
    s = server(tls=context(*good, client_ca=ca.cert))
    c = client(s, user="client-certificate: %s, client-key: %s" % (cert, key))
    assert c.call("GET", "/") == (200, 2)
    assert s.peers[0]["subject"] == ((("commonName", "node-1"),),)
    assert "Authorization" not in s.requests[0].headers
    other = ca.issue("node-2", kind, san=None)
    text = client(s, user="client-certificate: %s, client-key: %s" % (cert, other[1])).call("GET", "/")[2]
    assert "do not belong together" in text or "alert" in text
    code, _, text = client(s).call("GET", "/")		# none at all
    assert code == REFUSED, text


def test_certificates_are_read_again(client, server, ca, good, tmp_path):
    cert, key, authority = tmp_path / "cert", tmp_path / "key", tmp_path / "ca"
    first, second, new_ca = ca.issue("first", san=None), ca.issue("second", "rsa", san=None), Authority(tmp_path / "new-ca")
    os.symlink(first[0], cert), os.symlink(first[1], key), os.symlink(ca.cert, authority)

    def swap(link, to):
        os.symlink(to, str(link) + ".new")
        os.rename(str(link) + ".new", link)
    s = server(tls=context(*good, client_ca=ca.cert))
    c = client(s, str(authority), user="client-certificate: %s, client-key: %s" % (cert, key))
    assert c.call("GET", "/") == (200, 2)
    swap(cert, second[0])
    swap(key, second[1])
    assert c.call("GET", "/") == (200, 2)
    assert [p["subject"][0][0][1] for p in s.peers] == ["first", "second"]
    s.cut()
    s.tls = context(*new_ca.issue(), client_ca=ca.cert)
    assert c.call("GET", "/")[0] == REFUSED
    swap(authority, joined(tmp_path / "both", ca.cert, new_ca.cert))
    assert c.call("GET", "/") == (200, 2)
    swap(authority, tmp_path / "gone")		# what was read before stays
    assert c.call("GET", "/") == (200, 2)
    assert "what was read before stays" in c.log.read_text()


def test_tokens_are_read_again(client, server, tmp_path):
    token = tmp_path / "token"
    token.write_text("one\n")
    known = {"Bearer one"}

    def answer(send, request):
        if request.headers["Authorization"] in known:
            return ok()(send, request)
        return send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    s = server(answer)
    c = client(s, user="tokenFile: %s" % token)
    assert c.call("GET", "/") == (200, 2)
    token.unlink()
    assert c.call("GET", "/") == (200, 2)
    token.write_text("")
    assert c.call("GET", "/") == (200, 2)
    known.clear()
    assert c.call("GET", "/") == (401, 0)
    token.write_text("two")
    known.add("Bearer two")
    assert c.call("GET", "/") == (200, 2)
    stamp = os.stat(token)			# a change that stat does not show, after a 401
    token.write_text("333")
    os.utime(token, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    known.clear()
    known.add("Bearer 333")
    assert c.call("GET", "/") == (401, 0)
    assert c.call("GET", "/") == (200, 2)
    assert not any(word in c.log.read_text() for word in ("one\n", "two", "333"))


@pytest.mark.parametrize("user,want", [
    ("exec: { command: x }", "programs are not run"),
    ("username: a, password: b", "passwords are not supported"),
    ("client-certificate: /nowhere", "/nowhere: No such file or directory"),
    ("namespace: x", "neither a token nor a client certificate is given"),
    ("token: \"a b\"", "no token: byte 2"),
    ("tokenFile: /dev/null", "/dev/null: Invalid argument"),
    ("client-certificate-data: \"%\"", "client-certificate-data: not base64"),
    ("client-certificate-data: aGVsbG8=", "client-certificate-data: no certificate in it"),
])
def test_credentials_that_will_not_do(client, user, want):
    c = client("https://127.0.0.1:1", user=user)
    assert c.first.startswith("refused ") and want in c.first and str(c.kubeconfig) in c.first or want[0] == "/" and want in c.first


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "127.0.0.1:6443", "https://", "https://127.0.0.1:0", "https://a@127.0.0.1",
                                 "https://127.0.0.1:6443?x"])
def test_servers_that_will_not_do(client, url):
    assert client(url).first.startswith("refused 22 ")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_pod_finds_itself(program, server, ca, tmp_path, host):
    s = server(address=host)
    (tmp_path / "ca.crt").write_text(pathlib.Path(ca.cert).read_text())
    (tmp_path / "token").write_text("pods-token\n")
    within = "set -e; mount -t tmpfs none /run; d=/var/run/secrets/kubernetes.io/serviceaccount; mkdir -p $d; cp $1/* $d/; exec $0 ''"
    p = subprocess.Popen(["unshare", "-m", "sh", "-c", within, program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         text=True, bufsize=1, env={"PATH": os.environ["PATH"], "KUBERNETES_SERVICE_HOST": host,
                                                    "KUBERNETES_SERVICE_PORT": str(s.port)})
    where = ("[%s]:%d" if ":" in host else "%s:%d") % (host, s.port)
    assert p.stdout.readline() == "open %s\n" % where
    p.stdin.write("start 0 GET /api\n")
    assert [p.stdout.readline().split()[0] for _ in range(3)] == ["head", "data", "end"]
    p.stdin.close()
    assert p.wait(10) == 0
    assert s.requests[0].headers["Authorization"] == "Bearer pods-token" and s.requests[0].headers["Host"] == where


def test_a_pod_without_its_environment(program):
    done = subprocess.run([program, ""], env={}, capture_output=True, text=True, timeout=20)
    assert done.returncode == 5 and "KUBERNETES_SERVICE_HOST" in done.stdout


# --- faults ---

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


def test_stalls_end(client, server, good):
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


@pytest.fixture
def own_net():
    """A network namespace for this thread and those that it starts."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert labs.libc.unshare(0x40000000) == 0
    labs.run(["ip", "link", "set", "lo", "up"])
    yield
    assert labs.libc.setns(home, 0) == 0
    os.close(home)


def test_a_black_hole_is_noticed(client, server, own_net):
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


def test_memory(small_program, tmp_path, server, ca):
    """Eight watches that have had megabytes through them, idle."""
    def watch(send, request):
        piece = b"x" * 100000
        send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            send(b"%x\r\n%s\r\n" % (len(piece), piece))
        time.sleep(30)
    s = server(watch)
    c = Client(small_program, tmp_path, "https://127.0.0.1:%d" % s.port, ca.cert)

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

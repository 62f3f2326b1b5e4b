"""Who the agent is to the Kubernetes API: certificates, tokens, kubeconfig, a pod's own account."""
import os
import pathlib
import subprocess

import pytest

from kube_client import REFUSED, ca, client, good, program, server  # noqa: F401
from tls_server import Authority, context, joined, ok


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

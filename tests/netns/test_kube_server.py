"""Who the Kubernetes API's server is: certificates, chains, names, and TLS that will not do."""
import ssl
import time

import pytest

import lab as labs
from kube_client import REFUSED, RESET, ca, client, good, program, refusal, server  # noqa: F401
from tls_server import Authority, context, joined


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

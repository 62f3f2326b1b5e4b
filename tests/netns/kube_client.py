"""
What the tests of the transport to the Kubernetes API share: kube_call.c, driven by lines, against the servers of
tls_server.py on loopback, whose certificates, answers and faults are the tests'.
"""
import contextlib
import itertools
import queue
import subprocess
import threading
import time

import pytest

from lab import built
from tls_server import Authority, Server, context, ok

REFUSED, PROTO, TIMEOUT, RESET, CONNREFUSED = 129, 71, 110, 104, 111


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


@contextlib.contextmanager
def clients(program, folder, ca):
    """make(server or URL) starts one; in the end each must have ended well."""
    made = []

    def make(server, authority=None, **kw):
        url = server if isinstance(server, str) else "https://127.0.0.1:%d" % server.port
        own = folder / str(len(made))
        own.mkdir()
        made.append(Client(program, own, url, getattr(authority or ca, "cert", authority), **kw))
        return made[-1]
    yield make
    for c in made:
        c.close()


@contextlib.contextmanager
def servers(good):
    """make(answer) starts one with a good certificate, or what tls says."""
    made = []

    def make(answer=None, tls=None, **kw):
        made.append(Server(tls if tls is not None else context(*good), answer or ok(), **kw))
        return made[-1]
    yield make
    for s in made:
        with contextlib.suppress(OSError):
            s.stop()


def refusal(c):
    """Why the server was refused."""
    code, unsure, text = c.call("GET", "/")
    assert code == REFUSED and not unsure, text
    return text


@pytest.fixture(scope="module")
def program():
    """With sanitizers."""
    return built("build/unit/kube_call")


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki") / "kubernetes-ca")


@pytest.fixture(scope="module")
def good(ca):
    return ca.issue()


@pytest.fixture
def client(program, tmp_path, ca):
    with clients(program, tmp_path, ca) as make:
        yield make


@pytest.fixture
def server(good):
    with servers(good) as make:
        yield make

"""Certificates by openssl, and a server that says over TLS what a test tells it to."""
import os
import socket
import ssl
import subprocess
import threading
import time

KEYS = {"ec": ["EC", "ec_paramgen_curve:P-256"], "p384": ["EC", "ec_paramgen_curve:P-384"], "rsa": ["RSA", "rsa_keygen_bits:2048"],
        "ed25519": ["ED25519"]}
CONFIG = """[ca]
default_ca = x
[x]
database = %s/index
new_certs_dir = %s
rand_serial = yes
default_md = %s
policy = p
unique_subject = no
[p]
commonName = supplied
"""


def openssl(*args):
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


class Authority:
    """A CA in a folder of its own; parent: who signed it."""

    def __init__(self, folder, kind="ec", parent=None, ca=True, sigopt=()):
        self.dir, self.kind, self.sigopt = str(folder), kind, sigopt
        os.makedirs(self.dir, exist_ok=True)
        self.cert, self.key, self.count = self.dir + "/ca.pem", self.dir + "/ca.key", 0
        with open(self.dir + "/index", "w"):
            pass
        with open(self.dir + "/config", "w") as f:
            f.write(CONFIG % (self.dir, self.dir, "default" if kind == "ed25519" else "sha256"))
        name = os.path.basename(self.dir)
        if parent:
            self.cert, self.key = parent.issue(name, kind, san=None, ext="basicConstraints=critical,CA:%s\n" % str(ca).upper())
        else:
            make_key(self.key, kind)
            openssl("req", "-x509", "-new", "-key", self.key, "-subj", "/CN=" + name, "-days", "3650", "-out", self.cert, *sigopt,
                    "-addext", "keyUsage=critical,keyCertSign,digitalSignature")

    def issue(self, name="kube-apiserver", kind="ec", san="DNS:kubernetes.default.svc,IP:127.0.0.1", start="20260101000000Z",
              end="20960101000000Z", ext="basicConstraints=CA:FALSE\n"):
        """The paths of a certificate and its key."""
        self.count += 1
        base = "%s/%d" % (self.dir, self.count)
        make_key(base + ".key", kind)
        openssl("req", "-new", "-key", base + ".key", "-subj", "/CN=" + name, "-out", base + ".csr")
        with open(base + ".ext", "w") as f:
            f.write(ext + ("subjectAltName=%s\n" % san if san else ""))
        openssl("ca", "-batch", "-config", self.dir + "/config", "-cert", self.cert, "-keyfile", self.key, "-in", base + ".csr",
                "-out", base + ".pem", "-startdate", start, "-enddate", end, "-extfile", base + ".ext", "-notext", *self.sigopt)
        return base + ".pem", base + ".key"


def make_key(path, kind):
    algorithm, *option = KEYS[kind]
    openssl("genpkey", "-algorithm", algorithm, *[w for o in option for w in ("-pkeyopt", o)], "-out", path)


def joined(path, *files):
    """One file of several."""
    with open(path, "w") as to:
        for name in files:
            with open(name) as f:
                to.write(f.read())
    return str(path)


def context(cert, key, client_ca=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(cert, key)
    c.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    if client_ca:
        c.load_verify_locations(client_ca)
        c.verify_mode = ssl.CERT_REQUIRED
    return c


class Request:
    def __init__(self, head, body):
        lines = head.decode().split("\r\n")
        self.method, self.path, self.protocol = lines[0].split(" ")
        self.headers = dict(line.split(": ", 1) for line in lines[1:])
        self.body = body


class Server:
    """tls None: none.  answer(send, request) is called in a thread for each request; False closes the connection."""

    def __init__(self, tls, answer, port=0, address="127.0.0.1"):
        self.tls, self.answer, self.address = tls, answer, address
        self.requests, self.connections, self.failures, self.peers = [], [], [], []
        self.listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    def serve(self, plain):
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections.append(plain)
        try:
            conn = self.tls.wrap_socket(plain, server_side=True) if self.tls else plain
            self.connections.append(conn)
            if self.tls:
                self.peers.append(conn.getpeercert())
            have = b""
            while True:
                while b"\r\n\r\n" not in have:
                    more = conn.recv(65536)
                    if not more:
                        return
                    have += more
                head, have = have.split(b"\r\n\r\n", 1)
                request = Request(head, b"")
                want = int(request.headers.get("Content-Length", 0))
                while len(have) < want:
                    have += conn.recv(65536)
                request.body, have = have[:want], have[want:]
                self.requests.append(request)
                if self.answer(conn.sendall, request) is False:
                    if self.tls:
                        conn.unwrap()
                    conn.close()
                    return
        except (OSError, ssl.SSLError, ValueError) as e:
            self.failures.append(str(e))
        finally:
            plain.close()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()

    def cut(self):
        """Ends all connections without a word of TLS."""
        connections, self.connections = self.connections, []
        for conn in connections:
            try:
                conn.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            conn.close()


def ok(body=b"{}", more=""):
    """An answer with this body."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n" % (len(body), more)
    return lambda send, request: send(head.encode() + body)


def eventually(what, probe, timeout=5.0):
    end = time.monotonic() + timeout
    while not probe():
        assert time.monotonic() < end, what
        time.sleep(0.01)

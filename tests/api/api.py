"""
A lab whose datastore is a real etcd and API server, without kubelets and controllers: what no real server does to order is done
by the wire between (cut(), Proxy) or by the servers' processes.  Agents have the service account, and the rights, of the manifest.

    with ApiLab() as lab:
        one = lab.node().start()
        lab.call("GET", "/api/v1/nodes/edge-1")
"""
import base64
import contextlib
import http.client
import json
import pathlib
import signal
import ssl
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "cluster")]
import lab as labs  # noqa: E402
from cluster import MANIFESTS, NET, SERVER, Cluster, Process  # noqa: E402, F401
from lab import Namespace, run, tcp, wait_for  # noqa: E402

CALICO = "/apis/crd.projectcalico.org/v1/"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"


class ApiServer(Cluster):
    """Of a cluster only what objects are kept in; its namespace is the lab's switch."""

    def __init__(self, **kw):
        super().__init__(nodes=0, **kw)
        self.batch("addr add 2001:db8::1/64 dev br0 nodad")
        self.sysctl({"net/ipv6/conf/all/forwarding": 1})

    def controllers(self):
        pass

    def second(self, port):
        """Another server on the same etcd, as in a cluster with several."""
        first = self.servers["kube-apiserver"]
        argv = ["--secure-port=%d" % port if a.startswith("--secure-port=") else a for a in first.argv if not a.startswith("--audit")]
        self.servers["kube-apiserver-%d" % port] = Process(argv, self.dir / ("kube-apiserver-%d.log" % port))
        wait_for("it is ready", lambda: self.kubectl("--server=https://127.0.0.1:%d" % port, "get", "--raw", "/readyz", check=False).returncode == 0, 60, 0.2)
        return self.servers["kube-apiserver-%d" % port]


def etcd_put(api, objects):
    """Many objects at once, as (key below /registry/, object), past the API server."""
    conn = http.client.HTTPConnection("127.0.0.1", 2379)
    with api.entered():
        conn.connect()
    for at in range(0, len(objects), 100):
        puts = [{"requestPut": {"key": b64("/registry/" + key), "value": b64(json.dumps(o))}} for key, o in objects[at:at + 100]]
        conn.request("POST", "/v3/kv/txn", json.dumps({"success": puts}))
        answer = conn.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()


def b64(text):
    return base64.b64encode(text.encode()).decode()


class Client:
    """Requests of an administrator, one after the other, on one connection."""

    def __init__(self, api, port=6443):
        self.api, self.port, self.conn = api, port, None
        self.tls = ssl.create_default_context(cafile=api.pki.path("ca.crt"))
        self.tls.load_cert_chain(api.pki.path("admin.crt"), api.pki.path("admin.key"))

    def connect(self):
        self.conn = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls)
        with self.api.entered():
            self.conn.connect()

    def call(self, method, path, body=None, type="application/json", want=(200, 201)):
        for last in (False, True):              # a connection from before a server's end is found out so
            if not self.conn:
                self.connect()
            try:
                self.conn.request(method, path, None if body is None else json.dumps(body), {"Content-Type": type})
                answer = self.conn.getresponse()
                text = answer.read()
                break
            except (OSError, http.client.HTTPException):
                self.conn = None
                if last:
                    raise
        assert answer.status in want, (method, path, answer.status, text[:500])
        return json.loads(text) if answer.status < 300 else None

    def items(self, path):
        return self.call("GET", path)["items"]


class ApiNode(labs.Node):
    def defaults(self):
        return {**super().defaults(), "datastore": "kubernetes %s" % self.lab.kubeconfig, "pool": "10.42.0.0/16", "encapsulation": "none"}

    @contextlib.contextmanager
    def cut(self, how="drop"):
        """Nothing goes to the API server meanwhile: its packets vanish, or (reject) are refused."""
        self.run("nft", "add table inet cut; add chain inet cut out { type filter hook output priority 0; }; "
                 "add rule inet cut out ip daddr %s.1 tcp dport 6443-6449 %s" % (NET, "reject with tcp reset" if how == "reject" else how))
        try:
            yield
        finally:
            self.run("nft", "delete table inet cut")

    def pod(self, name, namespace="default", labels=None, **kw):
        """Its object, then its network."""
        made = self.lab.put_pod(name, self, namespace, **(labels or {}))
        return super().pod(name, namespace, uid=made["metadata"]["uid"], **kw)

    def reboot(self):
        """Power is lost: the kernel forgets, /run is new, the disk stays."""
        self.kill()
        for pod in list(self.pods):
            pod.remove()
        self.lab.fabric.batch("link del p%d" % self.number)
        self.remove()
        Namespace.__init__(self, self.dir / "net")
        run(["rm", "-rf", self.dir / "run"])
        (self.dir / "run").mkdir()
        self.lab.plug(self)

    @property
    def state(self):
        return self.show("status")["datastore"]["state"]

    def wait_state(self, want, timeout=30):
        wait_for("the datastore of %s is %s" % (self.name, want), lambda: self.state == want, timeout, 0.05)


class ApiLab(labs.Lab):
    def __init__(self, name="api", crds=True, **kw):
        super().__init__(name)
        try:
            self.api = ApiServer(**kw)
        except BaseException:
            self.fabric.remove()
            raise
        self.fabric.remove()
        self.fabric, self.subnets = self.api, {0}
        client = Client(self.api)
        self.client, self.call, self.items = client, client.call, client.items
        if crds:
            self.api.kubectl("apply", "-f", MANIFESTS / "manx-crds.yaml")
            self.api.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
        self.api.kubectl("apply", "-f", MANIFESTS / "manx.yaml")
        self.call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}, want=(200, 201, 409))
        self.token, self.kubeconfig = self.dir / "token", self.dir / "manx.conf"
        self.token_write()
        self.kubeconfig_write(SERVER)

    def token_write(self):
        self.token.with_suffix(".new").write_text(self.api.kubectl("-n", "kube-system", "create", "token", "manx", "--duration=24h").stdout)
        self.token.with_suffix(".new").rename(self.token)

    def kubeconfig_write(self, server):
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": self.api.pki.path("ca.crt")}}],
            "users": [{"name": "u", "user": {"tokenFile": str(self.token)}}]}))

    def node(self, name=None, register=True, **spec):
        name = name or "edge-%d" % (len(self.nodes) + 1)
        node = ApiNode(self, name, 0)
        self.nodes.append(node)
        if register:
            self.call("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}, want=(201, 409))
        return node

    def put_pod(self, name, node, namespace="default", **labels):
        """The object of a pod."""
        return self.call("POST", "/api/v1/namespaces/%s/pods" % namespace, {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
            "spec": {"nodeName": node.name, "automountServiceAccountToken": False, "containers": [{"name": "c", "image": "x"}]}})

    def objects(self, plural):
        """Of Calico's kinds, by name."""
        return {o["metadata"]["name"]: o for o in self.items(CALICO + plural)}

    def logs(self, lines=60):
        return super().logs(lines) + self.api.logs(15)

    def close(self):
        for node in self.nodes:
            node.end()
        for server in self.api.servers.values():
            server.end(signal.SIGKILL)
        leaks = super().close()                 # which takes the switch away
        self.api.close()
        return leaks


def cpu_s(pid):
    fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def rss_kib(pid):
    return next(int(line.split()[1]) for line in open("/proc/%d/status" % pid) if line.startswith("VmRSS"))


def given_twice(lab):
    """Addresses that two have: by blocks, and by what pods carry."""
    pods = [p for node in lab.nodes for p in node.pods if p.v4]
    have = [p.v4 for p in pods]
    return sorted({a for a in have if have.count(a) > 1})


def rows(node):
    return node.show("ipam", "show")["blocks"]


def count(node, what):
    """Addresses of the node's blocks that are "used", "reserved", "free"."""
    return sum(b[what] for b in rows(node) if b["node"] == node.name)


def policy(name, target, peer):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name},
            "spec": {"podSelector": {"matchLabels": {"app": target}}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": peer}}}]}]}}


def closed(pods):
    return not tcp(pods["enemy"], pods["db"].v4, pods["db"], 0.3)


def settled(node, pods):
    wait_for("friends may", lambda: tcp(pods["friend"], pods["db"].v4, pods["db"], 0.5), 10)
    assert closed(pods)

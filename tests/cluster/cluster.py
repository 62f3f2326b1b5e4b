#!/usr/bin/env python3
"""A real Kubernetes cluster on this machine: etcd, API server, controllers and scheduler in one network namespace; nodes,
each a set of namespaces of its own (network, mount, PID, UTS, IPC) with containerd, kubelet and kube-proxy at their ordinary paths.

    with Cluster(nodes=3) as cluster:
        cluster.install_manx()
        cluster.kubectl("get", "nodes")

or, as a program, with a shell in the control plane's namespace (kubectl works there; all of it ends with the shell):

    tests/cluster/cluster.py [--nodes N] [--proxy nftables|iptables|none] [--dual] [--bare] [COMMAND...]

The API server is 192.0.2.1:6443 and 127.0.0.1:6443, node K is edge-K at 192.0.2.(10+K); pods 10.42.0.0/16, services
10.43.0.0/16; with IPv6 (dual) also 2001:db8::(10+K), fd00:42::/48 and fd00:43::/112.  A node sees folders and mounts of its own over the machine's, which nothing changes: whatever is written to
its /etc, /opt, /run and /var lies in the cluster's folder.  Needs root; cgroup v1 or v2.
"""
import contextlib
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import lab  # noqa: E402
from lab import ROOT, Namespace, run, wait_for  # noqa: E402

IMAGE = ROOT / "build" / "manx-image.tar"
MANIFESTS = ROOT / "k3s-rke"
PROGRAMS = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "agnhost"]
PAUSE, AGNHOST = "registry.k8s.io/pause:3.10", "registry.k8s.io/e2e-test-images/agnhost:2.56"
NET, NET6 = "192.0.2", "2001:db8::"
SERVER = "https://%s.1:6443" % NET
CLUSTER_CIDR, SERVICE_CIDR = ["10.42.0.0/16", "fd00:42::/48"], ["10.43.0.0/16", "fd00:43::/112"]
USER = "system:serviceaccount:kube-system:manx"
AUDIT = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
         "rules": [{"level": "Metadata", "users": [USER]}, {"level": "None"}]}
CGROUPS = pathlib.Path("/sys/fs/cgroup")
OPEN = []


def programs(*names):
    """The folder with the cluster's programs, made first if need be."""
    made = subprocess.run([str(HERE / "build.sh"), *(names or PROGRAMS)], stdout=subprocess.PIPE, text=True, check=True)
    return pathlib.Path(made.stdout.strip())


# --- certificates -----------------------------------------------------------------------------------

class Authority:
    """A certificate authority, and what it signs: FOLDER/NAME.{crt,key}.  trust: what a kubeconfig lets its user trust."""

    def __init__(self, folder):
        self.dir, self.trust = folder, str(folder / "ca.crt")
        folder.mkdir()
        self.key("ca")
        self.openssl("req", "-x509", "-new", "-key", self.path("ca.key"), "-subj", "/CN=test-ca", "-days", "30", "-out", self.path("ca.crt"))

    def path(self, name):
        return str(self.dir / name)

    def openssl(self, *args):
        run(["openssl", *args])

    def key(self, name, kind="ec"):
        made = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"] if kind == "ec" else ["genrsa", "-out"]
        self.openssl(*made, self.path(name + ".key"), *([] if kind == "ec" else ["2048"]))

    def issue(self, name, subject, names, days=30, kind="ec"):
        self.key(name, kind)
        self.openssl("req", "-new", "-key", self.path(name + ".key"), "-subj", subject, "-out", self.path(name + ".csr"))
        pathlib.Path(self.path(name + ".ext")).write_text("subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n" % names)
        self.openssl("x509", "-req", "-in", self.path(name + ".csr"), "-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key"),
                     "-days", str(days), "-extfile", self.path(name + ".ext"), "-out", self.path(name + ".crt"))

    def kubeconfig(self, path, name, server=SERVER):
        """With client certificate and key of that name."""
        user = {"client-certificate": self.path(name + ".crt"), "client-key": self.path(name + ".key")}
        cluster = {"server": server, "certificate-authority": self.trust}
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}))


# --- images -------------------------------------------------------------------------------------------

PAUSE_C = """
#include <signal.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
int main(void) { signal(SIGTERM, end); signal(SIGINT, end); for (;;) pause(); }
"""


def image(folder, name, reference, root, *entrypoint, cmd=""):
    """FOLDER/NAME.tar of the files in root, made once."""
    run([str(ROOT / "cross" / "image.sh"), str(folder / (name + ".tar")), reference, str(root), *entrypoint], timeout=120,
        env={**os.environ, "CMD": cmd})


def agnhost_root(bin_dir, parent):
    """The program of the upstream tests, and a shell."""
    root = pathlib.Path(parent) / "agnhost"
    (root / "bin").mkdir(parents=True)
    shutil.copy2(bin_dir / "agnhost", root / "agnhost")
    shutil.copy2(shutil.which("busybox"), root / "bin" / "busybox")
    for applet in ("sh", "cat", "echo", "env", "grep", "hostname", "ip", "ls", "nc", "nslookup", "ping", "seq", "sleep", "true"):
        (root / "bin" / applet).symlink_to("busybox")
    return root


def images(bin_dir):
    """The archives of the two images that every node has, beside the programs."""
    made = [bin_dir / "pause.tar", bin_dir / "agnhost.tar"]
    if all(path.exists() for path in made):
        return made
    with tempfile.TemporaryDirectory(dir=bin_dir) as tmp:
        root = pathlib.Path(tmp) / "pause"
        root.mkdir()
        run(["gcc", "-static", "-Os", "-s", "-o", str(root / "pause"), "-xc", "-"], input=PAUSE_C)
        image(bin_dir, "pause", PAUSE, root, "/pause")
        image(bin_dir, "agnhost", AGNHOST, agnhost_root(bin_dir, tmp), "/agnhost")
    return made


# --- processes ----------------------------------------------------------------------------------------

class Process:
    """A server of the cluster: its log, its end with ours, its restart."""

    def __init__(self, argv, log, env=None):
        self.argv, self.log, self.env, self.popen = [str(a) for a in argv], log, env, None
        self.start()

    def start(self):
        with open(self.log, "ab") as f:
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=f, stderr=f, env={**os.environ, **(self.env or {})},
                                          preexec_fn=lab.die_with_parent)

    @property
    def pid(self):
        return self.popen.pid

    def send(self, signo):
        self.popen.send_signal(signo)

    def end(self, signo=signal.SIGTERM, timeout=20):
        if self.popen.poll() is None:
            self.popen.send_signal(signo)
        try:
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


# --- nodes --------------------------------------------------------------------------------------------

CONTAINERD = """
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%s"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
""" % PAUSE

# A tree over each folder that a node writes to; /run is new at each start, as after a reboot.
INIT = """
mount --make-rprivate /
for d in etc opt var; do
	mkdir -p {dir}/over/$d {dir}/work/$d
	mount -t overlay -o lowerdir=/$d,upperdir={dir}/over/$d,workdir={dir}/work/$d overlay /$d
done
mount -t tmpfs none /run
for d in containerd kubelet; do
	mkdir -p {dir}/$d /var/lib/$d
	mount --bind {dir}/$d /var/lib/$d
done
mkdir -p /etc/cni/net.d /opt/cni/bin /run/netns
mount --make-rshared /
echo {name} >/proc/sys/kernel/hostname
touch {dir}/up
trap 'exit 0' TERM
while :; do sleep 3600 & wait $!; done
"""


class Node(Namespace):
    """A machine of the cluster."""

    def __init__(self, cluster, number):
        self.cluster, self.name, self.address = cluster, "edge-%d" % number, "%s.%d" % (NET, 10 + number)
        self.number, self.dir, self.address6 = number, cluster.dir / ("edge-%d" % number), "%s%x" % (NET6, 10 + number)
        (self.dir / "static").mkdir(parents=True)
        self.servers, self.init, self.pid = {}, None, None
        cluster.pki.issue(self.name, "/O=system:nodes/CN=system:node:" + self.name, "DNS:%s,IP:%s" % (self.name, self.address),
                          kind="rsa" if number % 2 else "ec")
        cluster.pki.kubeconfig(self.dir / "kubelet.conf", self.name)
        (self.dir / "containerd.toml").write_text(CONTAINERD)
        (self.dir / "kubelet.yaml").write_text(json.dumps(self.kubelet_config()))
        (self.dir / "init").write_text(INIT.format(dir=self.dir, name=self.name))
        self.boot()

    @property
    def cgroup(self):
        return self.cluster.cgroup / self.name

    def kubelet_config(self):
        pki = self.cluster.pki
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": pki.path("ca.crt")}},
            "authorization": {"mode": "Webhook"}, "cgroupDriver": "cgroupfs", "cgroupRoot": "/%s" % self.cgroup,
            "failSwapOn": False, "failCgroupV1": False, "clusterDomain": "cluster.local", "clusterDNS": ["10.43.0.10"], "resolvConf": "",
            "tlsCertFile": pki.path(self.name + ".crt"), "tlsPrivateKeyFile": pki.path(self.name + ".key"),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock", "enforceNodeAllocatable": [],
            "evictionHard": {"memory.available": "10Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "localStorageCapacityIsolation": False, "nodeStatusUpdateFrequency": "4s", "syncFrequency": "20s", "maxPods": 200,
            "serializeImagePulls": False, "staticPodPath": str(self.dir / "static"), "fileCheckFrequency": "1s", "registryPullQPS": 0, "kubeAPIQPS": 200, "kubeAPIBurst": 400,
        }

    def boot(self):
        """The namespaces, the servers; again after crash()."""
        super().__init__(self.dir / "net")
        port = "p%d" % self.number
        self.cluster.batch("link add %s type veth peer name eth0 netns %s" % (port, self.path), "link set %s master br0 up" % port)
        self.batch("addr add %s/24 dev eth0" % self.address, "link set eth0 up", "route add default via %s.1" % NET)
        if self.cluster.dual:
            self.batch("addr add %s/64 dev eth0 nodad" % self.address6, "route add ::/0 via %s1" % NET6)
        self.sysctl({"net/ipv4/ip_forward": 0})
        up = self.dir / "up"
        up.unlink(missing_ok=True)
        self.init = Process(["nsenter", "--net=" + self.path, "unshare", "-m", "-u", "-i", "-p", "--fork", "--mount-proc", "--kill-child",
                             "sh", self.dir / "init"], self.dir / "init.log")
        wait_for("%s is up" % self.name, up.exists, 20)
        self.pid = int(run(["pgrep", "-P", str(self.init.pid)]).stdout.split()[0])
        self.serve("containerd", "containerd", "--config", self.dir / "containerd.toml")
        wait_for("containerd of %s answers" % self.name, lambda: self.on("ctr", "version", check=False).returncode == 0, 30, 0.1)
        for archive in self.cluster.images:
            self.import_image(archive)
        self.serve("kubelet", self.cluster.bin / "kubelet", "--config", self.dir / "kubelet.yaml", "--kubeconfig", self.dir / "kubelet.conf",
                   "--node-ip=" + ",".join([self.address, self.address6][:1 + self.cluster.dual]), "--hostname-override=" + self.name)
        if self.cluster.proxy != "none":
            self.serve("kube-proxy", self.cluster.bin / "kube-proxy", "--kubeconfig", self.cluster.config, "--hostname-override=" + self.name,
                       "--proxy-mode=" + self.cluster.proxy, "--cluster-cidr=" + self.cluster.families(CLUSTER_CIDR), "--conntrack-max-per-core=0",
                       "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0")

    def inside(self, *argv):
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-u", "-i", "-p", *map(str, argv)]

    def on(self, *argv, **kw):
        """Runs a command on the node."""
        return run(self.inside(*argv), **kw)

    def serve(self, name, *argv):
        self.servers[name] = Process(self.inside(*argv), self.dir / (name + ".log"))

    def import_image(self, path):
        self.on("ctr", "-n", "k8s.io", "images", "import", path, timeout=120)

    def manx(self, *args, **kw):
        """The command line, as somebody logged in on the node has it: the CNI plugin is the program."""
        return self.on("/opt/cni/bin/manx", *args, **kw)

    def show(self, *args):
        return json.loads(self.manx(*args, "-o", "json").stdout)

    def crash(self):
        """The machine loses power: processes and network end at once, the disk stays.  boot() starts it again."""
        self.init.end(signal.SIGKILL)
        for server in self.servers.values():
            server.end(signal.SIGKILL)
        self.servers = {}
        self.remove()
        self.cluster.batch("link del p%d" % self.number)

    def close(self):
        for server in self.servers.values():
            server.send(signal.SIGKILL)
        self.init.end(signal.SIGKILL)
        for server in self.servers.values():
            server.end(signal.SIGKILL)
        self.remove()


# --- the cluster --------------------------------------------------------------------------------------

class Cluster(Namespace):
    """The control plane and the wire between the nodes."""

    def __init__(self, nodes=3, proxy="nftables", api_args=(), dual=False):
        lab.isolate()
        self.bin = programs()
        self.images = images(self.bin)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="manx-cluster-"))
        self.proxy, self.nodes, self.servers, self.api_args, self.dual = proxy, [], {}, api_args, dual
        self.config, self.audit_log = self.dir / "admin.conf", self.dir / "audit.log"
        self.cgroup = pathlib.Path(self.dir.name)
        super().__init__(self.dir / "net")
        OPEN.append(self)
        try:
            self.control_plane()
            for number in range(1, nodes + 1):
                self.cgroups(self.cgroup / ("edge-%d" % number))
                self.nodes.append(Node(self, number))
            wait_for("nodes are registered", lambda: self.ready_to_list("nodes") == nodes, 60, 0.2)
        except BaseException:
            sys.stderr.write(self.logs())
            self.close()
            raise

    # cgroup v1 wants each hierarchy, and a cpuset that is filled in; v2 wants the controllers passed down.
    def cgroups(self, path):
        if (CGROUPS / "cgroup.controllers").exists():
            for parent in reversed(path.parents):
                (CGROUPS / parent).mkdir(exist_ok=True)
                (CGROUPS / parent / "cgroup.subtree_control").write_text("".join(" +" + c for c in (
                    CGROUPS / parent / "cgroup.controllers").read_text().split()))
            (CGROUPS / path).mkdir()
            return
        for tree in CGROUPS.iterdir():
            if tree.is_symlink() or not (tree / "cgroup.procs").exists():
                continue
            for made in (tree / path.parent, tree / path):
                made.mkdir(exist_ok=True)
                for name in ("cpuset.cpus", "cpuset.mems"):
                    if (made / name).exists():
                        (made / name).write_text((made.parent / name).read_text())

    def cgroups_remove(self):
        """They can be removed once the kernel has let go of who was killed in them."""
        def all_removed():
            for top in ([CGROUPS] if (CGROUPS / "cgroup.controllers").exists() else CGROUPS.iterdir()):
                for folder, _, _ in os.walk(top / self.cgroup, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(folder)
            return not any(CGROUPS.glob("%s*" % self.cgroup)) and not any(CGROUPS.glob("*/%s" % self.cgroup))
        wait_for("cgroup folders are removed", all_removed, 10, 0.1)

    def families(self, pair, between=","):
        return between.join(pair[:1 + self.dual])

    def serve(self, name, *argv):
        self.servers[name] = Process(self.argv(*map(str, argv)), self.dir / (name + ".log"))

    def server_certificate(self, pki=None):
        """By one of the two authorities that the cluster's own programs trust; pods are told of those in root."""
        (pki or self.pki).issue("apiserver", "/CN=kube-apiserver", "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,"
                       "IP:%s.1,IP:10.43.0.1,IP:127.0.0.1" % NET)

    def control_plane(self):
        self.pki, self.next_pki, self.root = Authority(self.dir / "pki"), Authority(self.dir / "pki-next"), self.dir / "root.crt"
        pki = self.pki
        pki.trust = str(self.dir / "both.crt")
        self.root.write_text(pathlib.Path(pki.path("ca.crt")).read_text())
        pathlib.Path(pki.trust).write_text(self.root.read_text() + pathlib.Path(self.next_pki.path("ca.crt")).read_text())
        pki.key("sa", "rsa")
        self.server_certificate()
        pki.issue("admin", "/O=system:masters/CN=admin", "DNS:admin")
        pki.kubeconfig(self.config, "admin")
        self.batch("link add br0 type bridge mcast_snooping 0", "addr add %s.1/24 dev br0" % NET, "link set br0 up",
                   "route add default via %s.254" % NET)
        self.sysctl({"net/ipv4/ip_forward": 1})
        if self.dual:
            self.batch("addr add %s1/64 dev br0 nodad" % NET6)
            self.sysctl({"net/ipv6/conf/all/forwarding": 1})
        self.serve("etcd", self.bin / "etcd", "--data-dir", self.dir / "etcd", "--unsafe-no-fsync", "--listen-client-urls=http://127.0.0.1:2379",
                   "--advertise-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380", "--log-level=error")
        (self.dir / "audit.json").write_text(json.dumps(AUDIT))
        self.serve("kube-apiserver", self.bin / "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--advertise-address=%s.1" % NET,
                   "--secure-port=6443", "--tls-cert-file=" + pki.path("apiserver.crt"), "--tls-private-key-file=" + pki.path("apiserver.key"),
                   "--client-ca-file=" + pki.path("ca.crt"), "--service-account-key-file=" + pki.path("sa.key"),
                   "--service-account-signing-key-file=" + pki.path("sa.key"), "--service-account-issuer=https://kubernetes.default.svc",
                   "--authorization-mode=Node,RBAC", "--service-cluster-ip-range=" + self.families(SERVICE_CIDR), "--allow-privileged=true",
                   "--kubelet-client-certificate=" + pki.path("admin.crt"), "--kubelet-client-key=" + pki.path("admin.key"),
                   "--kubelet-preferred-address-types=InternalIP", "--audit-policy-file=%s" % (self.dir / "audit.json"), "--audit-log-path=%s" % self.audit_log, *self.api_args)
        wait_for("kube-apiserver is ready", self.is_ready, 120, 0.2)
        self.controllers()

    def controllers(self):
        conf = ["--%s=%s" % (key, self.config) for key in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")]
        self.serve("kube-controller-manager", self.bin / "kube-controller-manager", *conf, "--leader-elect=false",
                   "--service-account-private-key-file=" + self.pki.path("sa.key"), "--root-ca-file=%s" % self.root,
                   "--use-service-account-credentials", "--allocate-node-cidrs", "--cluster-cidr=" + self.families(CLUSTER_CIDR),
                   "--service-cluster-ip-range=" + self.families(SERVICE_CIDR))
        self.serve("kube-scheduler", self.bin / "kube-scheduler", *conf, "--leader-elect=false")

    # What tests ask and do.

    def kubectl(self, *args, timeout=60, **kw):
        return self.run(self.bin / "kubectl", "--kubeconfig", self.config, *args, timeout=timeout, **kw)

    def run(self, *argv, **kw):
        return super().run(*map(str, argv), **kw)

    def is_ready(self):
        return self.kubectl("get", "--raw", "/readyz", check=False).returncode == 0

    def get(self, *args):
        return json.loads(self.kubectl("get", *args, "-o", "json").stdout)

    def ready_to_list(self, kind, *args):
        return len(self.kubectl("get", kind, "-o", "name", *args, check=False).stdout.split())

    def apply(self, *objects):
        """Objects as dicts, or one text."""
        text = objects[0] if isinstance(objects[0], str) else json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.kubectl("apply", "--validate=strict", "-f", "-", input=text)

    def delete(self, *objects):
        self.kubectl("delete", "--wait=true", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def pods(self, app, namespace="default"):
        return [Pod(self, pod) for pod in self.get("pods", "-n", namespace, "-l", "app=" + app)["items"]]

    def wait_pods(self, app, count, namespace="default", timeout=120):
        """All count pods of an app, running and ready; those of each node together."""
        def ready():
            pods = self.pods(app, namespace)
            return sorted(pods, key=lambda p: (p.node, p.name)) if len(pods) == count and all(p.ready for p in pods) else None
        return wait_for("%d pods of %s are ready" % (count, app), ready, timeout, 0.3)

    def audit(self):
        """What manx asked of the API server: (verb, group, resource, status) of each request, in their order."""
        asked = []
        for line in self.audit_log.read_text().splitlines():
            event = json.loads(line)
            what = event.get("objectRef", {})
            resource = "/".join(filter(None, [what.get("resource"), what.get("subresource")]))
            asked.append((event["verb"], what.get("apiGroup", ""), resource, event.get("responseStatus", {}).get("code")))
        return asked

    def install_manx(self, **changes):
        """As a user does it: the image on each node, the manifests applied, all of it Ready.  changes: of the manifest's text."""
        for node in self.nodes:
            node.import_image(IMAGE)
        self.kubectl("apply", "--validate=strict", "-f", str(MANIFESTS / "manx-crds.yaml"))
        text = (MANIFESTS / "manx.yaml").read_text()
        if self.dual:
            text = text.replace('"datastore=kubernetes"', ", ".join(['"datastore=kubernetes"', *('"--set", "pool=%s"' % cidr for cidr in CLUSTER_CIDR)]))
        for was, now in changes.items():
            assert was in text
            text = text.replace(was, now)
        self.apply(text)
        self.kubectl("-n", "kube-system", "rollout", "status", "daemonset/manx", "--timeout=90s", timeout=100)
        self.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s", timeout=70)

    # The end.

    def logs(self, lines=25):
        text = ""
        for path in [*(p for p in sorted(self.dir.glob("*.log")) if p != self.audit_log), *sorted(self.dir.glob("edge-*/*.log")),
                     *sorted(self.dir.glob("edge-*/over/var/log/pods/kube-system_manx*/*/*.log"))]:
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            text += "--- %s\n%s\n" % (path.relative_to(self.dir), "\n".join(line[:300] for line in tail))
        return text

    def close(self):
        for node in self.nodes:
            node.close()
        for server in reversed(list(self.servers.values())):
            server.end(signal.SIGKILL)
        self.remove()
        self.cgroups_remove()
        shutil.rmtree(self.dir, ignore_errors=True)
        if self in OPEN:
            OPEN.remove(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Pod(Namespace):
    """A pod as the API showed it; as a namespace it is the one that its containers live in."""

    def __init__(self, cluster, obj):   # not Namespace's, which makes one
        self.cluster, self.object = cluster, obj
        self.name, self.namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        self.v4, self.node = obj["status"].get("podIP"), obj["spec"].get("nodeName")
        self.v6 = next((ip["ip"] for ip in obj["status"].get("podIPs", []) if ":" in ip["ip"]), None)
        self.ready = not obj["metadata"].get("deletionTimestamp") and any(
            c["type"] == "Ready" and c["status"] == "True" for c in obj["status"].get("conditions", []))
        self.restarts = sum(c["restartCount"] for c in obj["status"].get("containerStatuses", []))

    @property
    def host(self):
        return next(n for n in self.cluster.nodes if n.name == self.node)

    @functools.cached_property
    def path(self):
        which = 'labels."io.kubernetes.pod.uid"==%s,labels."io.cri-containerd.kind"==sandbox' % self.object["metadata"]["uid"]
        for sandbox in self.host.on("ctr", "-n", "k8s.io", "containers", "ls", "-q", which).stdout.split():
            info = json.loads(self.host.on("ctr", "-n", "k8s.io", "containers", "info", sandbox).stdout)
            path = "/proc/%d/root%s" % (self.host.pid, next(
                n["path"] for n in info["Spec"]["linux"]["namespaces"] if n["type"] == "network").replace("/var/run/", "/run/"))
            if os.path.exists(path):       # those from before a crash are still listed
                return path
        raise FileNotFoundError("no sandbox of %s" % self.name)

    def exec(self, *argv, **kw):
        return self.cluster.kubectl("-n", self.namespace, "exec", self.name, "--", *argv, **kw)


# --- objects ------------------------------------------------------------------------------------------

def obj(api, kind, name, namespace=None, labels=None, **fields):
    meta = {"name": name, **({"namespace": namespace} if namespace else {}), **({"labels": labels} if labels else {})}
    return {"apiVersion": api, "kind": kind, "metadata": meta, **fields}


def container(image=PAUSE, **fields):
    return {"name": "c", "image": image, "imagePullPolicy": "IfNotPresent", **fields}


def deployment(name, replicas, namespace="default", spread=True, labels=None, kind="Deployment", **pod):
    """Pods with the label app=NAME, evenly over the nodes."""
    labels = {"app": name, **(labels or {})}
    spec = {"containers": [container()], "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
            "enableServiceLinks": False, **pod}
    if spread:
        spec["topologySpreadConstraints"] = [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule" if spread is True else spread,
                                              "labelSelector": {"matchLabels": {"app": name}}}]
    return obj("apps/v1", kind, name, namespace, labels, spec={
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": labels}, "spec": spec}})


def service(name, port=80, namespace="default", target=None, **spec):
    return obj("v1", "Service", name, namespace, spec={
        "selector": {"app": name}, "ports": [{"port": port, "targetPort": target or port}], **spec})


def main(argv):
    nodes, proxy, bare, dual = 3, "nftables", False, False
    while argv and argv[0].startswith("--"):
        option = argv.pop(0)
        if option == "--nodes":
            nodes = int(argv.pop(0))
        elif option == "--proxy":
            proxy = argv.pop(0)
        elif option == "--bare":
            bare = True
        elif option == "--dual":
            dual = True
        else:
            print(__doc__)
            return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    with Cluster(nodes, proxy, dual=dual) as cluster:
        if nodes and not bare:
            cluster.install_manx()
        print("%d nodes after %.1f s; folder %s" % (nodes, time.monotonic() - started, cluster.dir), flush=True)
        env = {**os.environ, "KUBECONFIG": str(cluster.config), "PATH": "%s:%s" % (cluster.bin, os.environ["PATH"]), "CLUSTER": str(cluster.dir)}
        return subprocess.run(cluster.argv(*(argv or [os.environ.get("SHELL", "bash")])), env=env).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What happens to a cluster in its life, with packets going on meanwhile."""
import json
import select
import signal
import socket
import sys
import threading
import time

import pytest
import rough
from cluster import HERE, NET, Process, container, deployment, obj
from lab import BINARY, ROOT, Namespace, matrix, run, tcp, wait_for


class Traffic:
    """Datagrams there and back every few milliseconds, and a TCP connection opened at each tenth; counts what is lost."""

    def __init__(self, source, dest, every=0.005):
        self.every, self.sent, self.answered, self.opened, self.failed, self.longest = every, 0, set(), 0, 0, 0.0
        self.here, self.there = source.socket(socket.AF_INET, socket.SOCK_DGRAM), dest.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.there.bind((dest.v4, 0))
        self.here.connect(self.there.getsockname())
        self.door = dest.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.door.bind((dest.v4, 0))
        self.door.listen(64)
        self.source, self.address, self.stop = source, self.door.getsockname(), False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def run(self):
        with self.source.entered():
            while not self.stop:
                self.here.send(b"%d" % self.sent)
                self.sent += 1
                if self.sent % 10 == 0:
                    self.open()
                self.pump(self.every)
        end = time.monotonic() + 0.5
        while len(self.answered) < self.sent and time.monotonic() < end:
            self.pump(0.05)

    def open(self):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            s.settimeout(1)
            begun = time.monotonic()
            try:
                s.connect(self.address)
                self.door.accept()[0].close()
                self.opened += 1
            except OSError:
                self.failed += 1
            self.longest = max(self.longest, time.monotonic() - begun)

    def pump(self, seconds):
        end = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([self.here, self.there], [], [], max(0, end - time.monotonic()))
            if self.there in ready:
                data, peer = self.there.recvfrom(64)
                self.there.sendto(data, peer)
            if self.here in ready:
                self.answered.add(self.here.recv(64))
            if not ready:
                return

    def __exit__(self, *_):
        self.stop = True
        self.thread.join()
        for s in (self.here, self.there, self.door):
            s.close()

    @property
    def lost(self):
        return self.sent - len(self.answered)


@pytest.fixture(scope="module")
def pair(cluster):
    """A pod on each of two nodes."""
    made = deployment("pair", 3, spread="ScheduleAnyway")
    cluster.apply(made)
    yield cluster.wait_pods("pair", 3)
    cluster.delete(made)


def test_an_upgrade_loses_no_packet(cluster, pair, tmp_path):
    """kubectl set image, node after node, while packets go from one to another."""
    (tmp_path / "bin").mkdir()
    run(["cp", str(ROOT / "build" / "manx"), str(tmp_path / "bin" / "manx")])
    run([str(ROOT / "cross" / "image.sh"), str(tmp_path / "next.tar"), "manx:next", str(tmp_path), "/bin/manx"])
    for node in cluster.nodes:
        node.import_image(tmp_path / "next.tar")
    with Traffic(pair[0], pair[1]) as a, Traffic(pair[1], pair[2]) as b:
        time.sleep(0.5)
        cluster.kubectl("-n", "kube-system", "set", "image", "daemonset/manx", "manx=manx:next")
        cluster.kubectl("-n", "kube-system", "rollout", "status", "daemonset/manx", "--timeout=100s", timeout=110)
        time.sleep(1)
    print("sent %d and %d, opened %d and %d" % (a.sent, b.sent, a.opened, b.opened))
    assert a.sent > 200 and a.opened > 20
    assert (a.lost, b.lost, a.failed, b.failed) == (0, 0, 0, 0)
    images = {p["spec"]["containers"][0]["image"] for p in cluster.get("pods", "-n", "kube-system", "-l", "k8s-app=manx")["items"]}
    assert images == {"manx:next"}


def static_pod(node, name):
    """What the kubelet starts by itself, from a file."""
    pod = obj("v1", "Pod", name, "default", spec={"containers": [container()], "terminationGracePeriodSeconds": 0,
                                                  "automountServiceAccountToken": False, "enableServiceLinks": False})
    path = node.dir / "static" / (name + ".json")
    path.write_text(json.dumps(pod))
    return path


def test_the_api_server_is_killed_and_comes_back(cluster, pair):
    """Packets go on; a new pod of the kubelet's own gets a network; a policy made after the return takes effect."""
    node = cluster.nodes[0]
    with Traffic(pair[0], pair[1]) as traffic:
        cluster.servers["kube-apiserver"].end(signal.SIGKILL)
        wait_for("the agent has noticed", lambda: node.show("status")["datastore"]["state"] == "away", 60, 0.2)
        links = set(node.links())
        path = static_pod(node, "static")
        new = wait_for("a pod without the API", lambda: [n for n in node.links() if n.startswith("cali") and n not in links], 60, 0.2)
        assert node.show("status")["ready"]
        path.unlink()
        wait_for("it goes again", lambda: new[0] not in node.links(), 60, 0.2)
        cluster.servers["kube-apiserver"].start()
        wait_for("kube-apiserver is ready", cluster.is_ready, 60, 0.2)
        wait_for("the agents are back", lambda: all(n.show("status")["datastore"]["state"] == "synced" for n in cluster.nodes), 60, 0.2)
    assert (traffic.lost, traffic.failed) == (0, 0)
    deny = obj("networking.k8s.io/v1", "NetworkPolicy", "after", "default", spec={"podSelector": {"matchLabels": {"app": "pair"}}})
    cluster.apply(deny)
    wait_for("a policy of afterwards holds", lambda: not tcp(pair[0], pair[1].v4, pair[1], 0.3), 20, 0.1)
    cluster.delete(deny)
    wait_for("and goes", lambda: all(matrix(pair, 4).values()), 20, 0.1)


def test_the_api_server_stalls(cluster, pair):
    """It accepts and never answers (SIGSTOP): no packet is lost, and the agents go on when it does."""
    server = cluster.servers["kube-apiserver"]
    with Traffic(pair[0], pair[1]) as traffic:
        server.send(signal.SIGSTOP)
        time.sleep(15)
        assert all(n.show("status")["ready"] for n in cluster.nodes)
        server.send(signal.SIGCONT)
        wait_for("the agents are there", lambda: all(n.show("status")["datastore"]["state"] == "synced" for n in cluster.nodes), 90, 0.2)
    assert (traffic.lost, traffic.failed) == (0, 0)


def test_a_node_loses_power(cluster, pair):
    """Its pods come back with a network, and others reach it again."""
    node = cluster.nodes[2]
    node.crash()
    node.boot()

    def all_well():
        try:                                       # until the kubelet has looked, the API shows what was: sandbox and address
            pods = cluster.pods("pair")
            return len(pods) == 3 and all(p.ready for p in pods) and all(matrix(pods, 4).values())
        except OSError:
            return False
    wait_for("its pod is back, and all reach each other", all_well, 90, 0.5)
    assert node.show("status")["ready"]


def test_history_is_compacted_while_an_agent_hangs(cluster, pair):
    """Its watches end, what they would go on from is gone (410), and what changed meanwhile takes effect."""
    node = next(n for n in cluster.nodes if n.name == pair[1].node)
    pid = node.on("pgrep", "-x", "manx").stdout.strip()
    node.on("kill", "-STOP", pid)
    deny = obj("networking.k8s.io/v1", "NetworkPolicy", "meanwhile", "default", spec={"podSelector": {"matchLabels": {"app": "pair"}}})
    cluster.apply(deny)
    revision = int(cluster.get("networkpolicy", "meanwhile")["metadata"]["resourceVersion"])
    cluster.run("python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:2379/v3/kv/compaction', b'{\"revision\":%d}').read()" % revision)
    restart(cluster)
    node.on("kill", "-CONT", pid)
    wait_for("the policy holds", lambda: not tcp(pair[0], pair[1].v4, pair[1], 0.3), 60, 0.2)
    cluster.delete(deny)
    wait_for("and goes", lambda: tcp(pair[0], pair[1].v4, pair[1], 0.3), 20, 0.1)
    assert node.on("pgrep", "-x", "manx").stdout.strip() == pid


def agents(cluster):
    return [node.on("pgrep", "-x", "manx").stdout.strip() for node in cluster.nodes]


def restart(cluster, *argv):
    server = cluster.servers["kube-apiserver"]
    server.end(signal.SIGKILL)
    server.argv = list(argv) or server.argv
    server.start()
    wait_for("kube-apiserver is ready", cluster.is_ready, 60, 0.2)


def heard(cluster, pair, name):
    """Each node takes a policy that is new, and that it has gone."""
    pair = cluster.wait_pods("pair", len(pair))     # one may have come back from a crash, with another sandbox
    deny = obj("networking.k8s.io/v1", "NetworkPolicy", name, "default", spec={"podSelector": {"matchLabels": {"app": "pair"}}})
    cluster.apply(deny)
    wait_for("a new policy holds", lambda: not any(ok for (a, b), ok in matrix(pair, 4, 0.3).items() if a is not b), 60, 0.2)
    cluster.delete(deny)
    wait_for("and goes", lambda: all(matrix(pair, 4).values()), 60, 0.2)


def test_the_api_server_has_a_new_certificate(cluster, pair):
    """Of the same authority."""
    pids = agents(cluster)
    cluster.server_certificate()
    restart(cluster)
    heard(cluster, pair, "certified")
    assert agents(cluster) == pids


def root_of(node):
    """How many authorities the kubelet has told the node's agent of."""
    return int(node.on("sh", "-c", "cat /proc/$(pgrep -x manx)/root/var/run/secrets/kubernetes.io/serviceaccount/ca.crt | grep -c BEGIN").stdout)


def test_another_authority_takes_over(cluster, pair):
    """Pods are told of it, then the server has its certificate: the agents go on, and read the file again by themselves."""
    pids, server = agents(cluster), cluster.servers["kube-apiserver"]
    cluster.root.write_text((cluster.dir / "both.crt").read_text())
    controllers = cluster.servers["kube-controller-manager"]
    controllers.end(signal.SIGKILL)
    controllers.start()
    wait_for("kubelets have told them", lambda: all(root_of(node) == 2 for node in cluster.nodes), 120, 1)
    cluster.server_certificate(cluster.next_pki)
    restart(cluster, *(arg.replace(cluster.pki.path("apiserver"), cluster.next_pki.path("apiserver")) for arg in server.argv))
    heard(cluster, pair, "other-authority")
    assert agents(cluster) == pids


ROUGH_PORT = 6444


def test_pods_start_through_a_rough_wire(cluster, pair):
    """Agents start, and thirty pods come and go, while each answer of the API may be cut, held back, refused or garbage."""
    cluster.serve("rough", sys.executable, HERE / "rough.py", ROUGH_PORT, 6443, cluster.pki.path("apiserver.crt"), cluster.pki.path("apiserver.key"), 1)
    agent = ["-n", "kube-system", "set", "env", "daemonset/manx"]
    rolled = ["-n", "kube-system", "rollout", "status", "daemonset/manx", "--timeout=280s"]
    cluster.kubectl(*agent, "KUBERNETES_SERVICE_HOST=%s.1" % NET, "KUBERNETES_SERVICE_PORT=%d" % ROUGH_PORT)
    cluster.kubectl(*rolled, timeout=300)
    cluster.apply(deployment("rough", 30))
    pods = cluster.wait_pods("rough", 30, timeout=300)
    assert len({p.v4 for p in pods}) == 30
    assert all(matrix(pods[::4], 4).values())
    for name in ("rough-1", "rough-2"):
        heard(cluster, pair, name)
    cluster.kubectl("scale", "deployment/rough", "--replicas=6")
    cluster.kubectl("rollout", "restart", "deployment/rough")
    cluster.kubectl("rollout", "status", "deployment/rough", "--timeout=200s", timeout=210)
    met = [json.loads(line)[0] for line in (cluster.dir / "rough.log").read_text().splitlines() if line.startswith("[")]
    print({fault: met.count(fault) for fault in sorted(set(met))})
    assert set(met) == set(rough.FAULTS)
    cluster.kubectl(*agent, "KUBERNETES_SERVICE_HOST-", "KUBERNETES_SERVICE_PORT-")
    cluster.kubectl(*rolled, timeout=300)
    cluster.servers.pop("rough").end(signal.SIGKILL)
    cluster.delete(deployment("rough", 6))
    cluster.kubectl("wait", "--for=delete", "pods", "-l", "app=rough", "--timeout=60s", timeout=70)
    wait_for("addresses are as they should be", lambda: all(
        n.show("ipam", "check") == {"leaked": [], "duplicate": []} for n in cluster.nodes), 30, 0.5)
    assert all(n.show("status")["problems"] == [] for n in cluster.nodes)


def held_by(cluster, node):
    return {b["metadata"]["name"]: b["spec"] for b in cluster.get("ipamblocks")["items"] if b["spec"]["affinity"] == "host:" + node.name}


def test_an_agent_waits_while_the_node_is_another_machines(cluster, pair, tmp_path):
    """As the id of its kubelet's boot tells: a second agent of that name has none of its pods, and gives nothing back."""
    node, twin = cluster.nodes[0], Namespace(tmp_path / "net")
    before, kubelet, log = held_by(cluster, node), node.on("pgrep", "-x", "kubelet").stdout.strip(), tmp_path / "log"
    cluster.batch("link add twin type veth peer name eth0 netns " + twin.path, "link set twin master br0 up")
    twin.batch("addr add 192.0.2.99/24 dev eth0", "link set eth0 up", "route add default via 192.0.2.1")
    settings = ["datastore=kubernetes %s" % cluster.config, "node_name=" + node.name, "cni_conf_dir=", "cni_bin_dir=", "health_listen=",
                "run_dir=%s" % tmp_path, "state_dir=%s" % tmp_path]
    node.on("kill", "-STOP", kubelet)
    try:
        cluster.kubectl("patch", "node", node.name, "--subresource=status", "-p", json.dumps({"status": {"nodeInfo": {"bootID": "another"}}}))
        agent = Process(twin.argv(BINARY, "agent", *(word for s in settings for word in ("--set", s))), log)
        try:
            wait_for("it waits", lambda: "kubelet of another machine" in log.read_text(), 20, 0.1)
            time.sleep(2)
            asked = run([BINARY, "status", "--ready", "--socket", str(tmp_path / "manx.sock")], check=False)
            assert asked.returncode == 1 and "node_name of its own" in asked.stdout
        finally:
            agent.end()
    finally:
        node.on("kill", "-CONT", kubelet)
        twin.remove()
    assert held_by(cluster, node) == before and node.manx("status", "--ready").returncode == 0


def test_a_node_is_drained_and_deleted(cluster):
    """Nobody has a route to it any more, and the others go on."""
    node = cluster.nodes[2]
    cluster.kubectl("drain", node.name, "--ignore-daemonsets", "--force", "--timeout=60s", timeout=70)
    node.close()
    cluster.nodes.remove(node)
    cluster.kubectl("delete", "node", node.name)
    wait_for("no route leads there", lambda: not any(row.get("gateway") == node.address for n in cluster.nodes for row in n.routes(4).values()) and
             not any(node.address in str(n.ip("neigh show dev vxlan.calico")) for n in cluster.nodes), 60, 0.5)
    assert all(matrix(cluster.wait_pods("pair", 3), 4).values())

    def nothing_left():
        return not any(node.name in json.dumps(one["spec"]) for kind in ("ipamblocks", "blockaffinities") for one in cluster.get(kind)["items"])
    wait_for("its blocks are free again", nothing_left, 60, 0.5)

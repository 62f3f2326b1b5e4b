"""NetworkPolicy in the kernel: who reaches whom, through a real node."""
import concurrent.futures
import json
import re
import socket
import subprocess
import time

import pytest

from lab import ping, tcp, wait_for

NP = "networking.k8s.io/v1"


class Store:
    """Objects by file in the shared folder; what a test puts is taken away again."""

    def __init__(self, path):
        self.path, self.names = path, set()

    def put(self, kind, name, namespace=None, api="v1", labels=None, annotations=None, **rest):
        file = "%s-%s-%s.json" % (kind.lower(), namespace, name)
        obj = {"apiVersion": api, "kind": kind, "metadata": {"name": name, "labels": labels or {}}, **rest}
        if annotations:
            obj["metadata"]["annotations"] = annotations
        if namespace:
            obj["metadata"]["namespace"] = namespace
        (self.path / ("." + file)).write_text(json.dumps(obj))
        (self.path / ("." + file)).rename(self.path / file)
        self.names.add(file)

    def remove(self, kind, name, namespace=None):
        file = "%s-%s-%s.json" % (kind.lower(), namespace, name)
        (self.path / file).unlink()
        self.names.discard(file)

    def clear(self):
        for file in self.names:
            (self.path / file).unlink()
        self.names.clear()

    def namespace(self, name, **labels):
        self.put("Namespace", name, labels=labels)

    def pod(self, name, namespace="default", ports=(), **labels):
        ports = [dict(zip(("name", "containerPort", "protocol"), p)) for p in ports]
        self.put("Pod", name, namespace, labels=labels, spec={"containers": [{"name": "c", "ports": ports}]})

    def policy(self, name, namespace="default", **spec):
        spec.setdefault("podSelector", {})
        self.put("NetworkPolicy", name, namespace, api=NP, spec=spec)


@pytest.fixture(scope="module")
def nodes(lab):
    return lab.node().start(), lab.node().start()


@pytest.fixture(scope="module")
def pods(nodes):
    one, two = nodes
    pods = {"a": one.pod("a"), "b": one.pod("b"), "c": two.pod("c")}
    for p in pods.values():
        for q in pods.values():
            for f in ("v4", "v6"):
                wait_for("%s reaches %s" % (p.name, q.name), lambda: tcp(p, getattr(q, f), q, 0.2))
    return pods


@pytest.fixture
def store(nodes, pods):
    s = Store(nodes[0].store)
    for name in pods:
        s.pod(name, ports=[("http", 80, "TCP"), ("dns", 53, "UDP")], app=name, tier="x")
    yield s
    s.clear()


def reaches(src, dst, port, family="v4", kind="tcp", timeout=0.15):
    address = getattr(dst, family)
    fam = socket.AF_INET6 if family == "v6" else socket.AF_INET
    kinds = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
    if kind == "icmp":
        return ping(src, address)
    with dst.socket(fam, kinds[kind]) as door, src.socket(fam, kinds[kind]) as here:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((address, port))
        door.settimeout(timeout)
        here.settimeout(timeout)
        try:
            if kind == "tcp":
                door.listen(1)
                here.connect((address, port))
            else:
                here.sendto(b"ping", (address, port))
                data, peer = door.recvfrom(4)
                door.sendto(data, peer)
                here.recv(4)
        except OSError:
            return False
    return True


def expect(pods, yes, no, timeout=5):
    """yes and no: words "a>b:80", with /udp, /v6; first what must fail may still hold, then it all has to stay so."""
    def probe(word):
        path, _, how = word.partition(":")
        src, dst = (pods[x] for x in path.split(">"))
        port, *more = how.split("/")
        family = "v6" if "v6" in more else "v4"
        kind = next((k for k in ("udp", "icmp") if k in more), "tcp")
        return reaches(src, dst, int(port or 0), family, kind)
    for word in no:
        wait_for("not %s" % word, lambda: not probe(word), timeout)
    for word in yes:
        wait_for(word, lambda: probe(word), timeout)
    for word in no:
        assert not probe(word), word


def sel(**labels):
    return {"matchLabels": labels}


def test_default_deny_and_its_end(pods, store):
    store.policy("deny")
    expect(pods, [], ["b>a:80", "c>a:80", "c>a:80/v6", "a>c:81/udp", "a>b:0/icmp"])
    store.remove("NetworkPolicy", "deny", "default")
    expect(pods, ["b>a:80", "c>a:80", "c>a:80/v6", "a>c:81/udp", "a>b:0/icmp"], [])


def test_peers_and_ports(pods, store):
    store.policy("p", podSelector=sel(app="a"), ingress=[
        {"from": [{"podSelector": sel(app="b")}], "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]},
        {"from": [{"podSelector": sel(app="c")}]}])
    expect(pods, ["b>a:80", "b>a:80/v6", "b>a:53/udp", "c>a:81", "c>a:81/v6/udp", "c>a:0/icmp", "a>b:80", "a>c:9"],
           ["b>a:81", "b>a:80/udp", "b>a:53", "b>a:0/icmp", "b>a:81/v6"])


def test_egress(pods, store):
    store.policy("p", podSelector=sel(app="a"), policyTypes=["Egress"], egress=[
        {"to": [{"podSelector": sel(app="c")}], "ports": [{"port": "http"}]}])
    expect(pods, ["a>c:80", "a>c:80/v6", "b>a:80", "b>a:0/icmp"], ["a>c:81", "a>b:80", "a>c:80/udp", "a>c:0/icmp"])


def test_ranges_named_ports_and_anybody(pods, store):
    store.policy("p", podSelector=sel(app="a"), ingress=[
        {"ports": [{"port": 1000, "endPort": 2000}, {"port": "http"}, {"port": 3000, "endPort": 3003, "protocol": "UDP"},
                   {"port": "none"}]},
        {"from": [{"podSelector": sel(app="b")}], "ports": [{"protocol": "UDP"}]}])
    expect(pods, ["c>a:1000", "c>a:1500/v6", "c>a:2000", "b>a:80", "c>a:3000/udp", "c>a:3003/udp/v6", "b>a:7/udp",
                  "b>a:3001/udp"],
           ["c>a:999", "c>a:2001", "c>a:81", "c>a:1500/udp", "c>a:2999/udp", "c>a:3004/udp", "c>a:7/udp"])


def test_blocks(pods, store):
    store.policy("p", podSelector=sel(app="a"), ingress=[
        {"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [pods["c"].v4 + "/32"]}},
                  {"ipBlock": {"cidr": "::/0"}}], "ports": [{"port": 80}]},
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"ipBlock": {"cidr": "10.42.0.0/16"}}], "ports": [{"port": 81}]}])
    expect(pods, ["b>a:80", "c>a:80/v6", "b>a:81", "c>a:81"], ["c>a:80", "b>a:82", "c>a:81/v6"])


def test_both_sides_must_agree(pods, store):
    store.policy("in", podSelector=sel(app="a"), ingress=[{"from": [{"podSelector": sel(app="b")}]}])
    store.policy("out", podSelector=sel(app="b"), policyTypes=["Egress"], egress=[{"ports": [{"port": 80}]}])
    expect(pods, ["b>a:80", "b>c:80"], ["b>a:81", "c>a:80"])


def test_labels_change(pods, store):
    store.policy("p", podSelector=sel(app="a"), ingress=[{"from": [{"podSelector": sel(role="friend")}]}])
    expect(pods, [], ["b>a:80", "c>a:80"])
    store.pod("b", app="b", role="friend")
    expect(pods, ["b>a:80"], ["c>a:80"])
    store.pod("c", app="c", role="friend")
    store.pod("b", app="b")
    expect(pods, ["c>a:80", "c>a:80/v6"], ["b>a:80"])


def test_host_reaches_its_pods_and_is_asked_about_by_egress(pods, store):
    a = pods["a"]
    node = a.node
    store.policy("p", podSelector=sel(app="a"), policyTypes=["Ingress", "Egress"],
                 egress=[{"to": [{"ipBlock": {"cidr": node.v4 + "/32"}}], "ports": [{"port": 7000}]}])
    expect(pods, [], ["b>a:80", "a>b:80"])
    assert tcp(node, a.v4, a) and tcp(node, a.v6, a)
    with node.socket(socket.AF_INET, socket.SOCK_STREAM) as door:
        door.bind((node.v4, 7000))
        door.listen(1)
        with a.socket(socket.AF_INET, socket.SOCK_STREAM) as here:
            here.settimeout(1)
            here.connect((node.v4, 7000))
    assert not tcp(a, node.v4, node, 0.15)
    assert tcp(a, a.v4, a)


def test_what_is_refused_is_closed(pods, store):
    store.policy("bad", podSelector=sel(app="a"), ingress=[{"ports": [{"port": 80, "endPort": 79}]}, {}])
    expect(pods, ["a>b:80"], ["b>a:80", "c>a:80/v6"])


def test_new_pod_is_isolated_when_its_add_returns(nodes, pods, store):
    store.policy("p", podSelector=sel(app="d"))
    store.pod("d", app="d")
    expect(pods, ["b>a:80"], [])
    d = nodes[0].pod("d")
    assert not reaches(pods["b"], d, 80) and not reaches(pods["c"], d, 80, "v6")
    d.delete()


def test_the_ruleset_as_nft_lists_it(nodes, pods, store):
    store.policy("p.long-name", podSelector=sel(app="a"), ingress=[
        {"from": [{"podSelector": sel(app="b")}, {"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 80}]}])
    expect(pods, ["b>a:80"], ["c>a:80"])
    text = nodes[0].run("nft", "list", "ruleset").stdout
    assert 'comment "NetworkPolicy default/p.long-name ' in text
    assert "192.0.2.0/24" in text
    assert nodes[0].show("status")["policy"]["policies"] == 1


def test_restart_changes_nothing(nodes, pods, store):
    store.policy("p", podSelector=sel(app="a"), ingress=[
        {"from": [{"podSelector": sel(app="b")}, {"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 80}]}])
    expect(pods, ["b>a:80"], ["c>a:80"])
    before = nodes[0].run("nft", "-a", "list", "ruleset").stdout
    nodes[0].stop()
    assert not reaches(pods["c"], pods["a"], 80)
    nodes[0].start()
    assert nodes[0].run("nft", "-a", "list", "ruleset").stdout == before


def test_flows_of_an_address_end_with_its_pod(nodes, pods, store):
    """Established flows outlive a policy; they do not outlive the pod."""
    gone = nodes[0].pod("gone")
    with gone.socket(socket.AF_INET, socket.SOCK_DGRAM) as door, pods["c"].socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        door.bind((gone.v4, 9000))
        for s in (door, here):
            s.settimeout(2)
        here.connect((gone.v4, 9000))

        def talk():
            here.send(b"ping")
            data, peer = door.recvfrom(4)
            door.sendto(data, peer)
            return here.recv(4) == b"ping"
        assert talk()
        store.policy("closed", podSelector={"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]})
        expect({**pods, "g": gone}, [], ["c>g:9001/udp"])
        assert talk()
    assert tcp(pods["c"], pods["a"].v4, pods["a"])
    assert gone.v4 in flows(nodes[0])
    gone.delete().ok()
    wait_for("its flows are gone", lambda: gone.v4 not in flows(nodes[0]))
    assert pods["c"].v4 in flows(nodes[0]), "other flows stay"


def udp_flow(here, there, port=9100):
    """Begins one that is answered."""
    with there.socket(socket.AF_INET, socket.SOCK_DGRAM) as door, here.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        door.bind((there.v4, port))
        door.settimeout(2)
        s.settimeout(2)
        s.connect((there.v4, port))
        s.send(b"ping")
        data, peer = door.recvfrom(4)
        door.sendto(data, peer)
        assert s.recv(4) == b"ping"


def test_address_is_without_flows_when_it_is_given_again(nodes, pods, store):
    """Also at once, which only happens to who asks for that address."""
    last = None
    for i in range(6):
        name = "again-%d" % i
        if last:
            store.put("Pod", name, "default", annotations={"cni.projectcalico.org/ipAddrs": json.dumps([last.v4, last.v6])})
            wait_for("its object is known", lambda: nodes[0].manx("get", "pods", name, check=False).returncode == 0)
        pod = nodes[0].pod(name)
        assert pod.v4 not in flows(nodes[0])
        assert not last or pod.v4 == last.v4
        udp_flow(pods["c"], pod)
        assert pod.v4 in flows(nodes[0])
        pod.delete().ok()
        last = pod


def test_flows_of_many_that_go_end_with_few_dumps(nodes, pods, tmp_path):
    many = [nodes[0].pod("many-%d" % i) for i in range(12)]
    for pod in many:
        udp_flow(pods["c"], pod)
    trace = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=sendto", "-o", str(tmp_path / "trace"), "-p",
                              str(nodes[0].process.pid)])
    time.sleep(0.5)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for answer in pool.map(lambda p: p.delete(), many):
            answer.ok()
    wait_for("their flows are gone", lambda: not any(p.v4 in flows(nodes[0]) for p in many))
    trace.terminate()
    trace.wait(10)
    dumps = re.findall(r"nlmsg_type=(?:0x101\b|NFNL_SUBSYS_CTNETLINK<<8\|IPCTNL_MSG_CT_GET,)", (tmp_path / "trace").read_text())
    assert 1 <= len(dumps) <= 6


def test_flows_that_a_killed_agent_left_end_with_the_next_one(nodes, pods):
    gone = nodes[0].pod("left")
    udp_flow(pods["c"], gone)
    gone.delete().ok()
    nodes[0].kill()
    nodes[0].start()
    wait_for("its flows are gone", lambda: gone.v4 not in flows(nodes[0]))
    assert pods["a"].v4 in flows(nodes[0]) or not udp_flow(pods["c"], pods["a"])


def flows(node):
    with node.entered(), open("/proc/thread-self/net/nf_conntrack") as f:
        return f.read()


def test_ipvs_is_not_supported(nodes, pods):
    node = nodes[1]

    def problems():
        return [p["text"] for p in node.show("status")["problems"] if "IPVS mode is not supported" in p["text"]]
    node.batch("link add kube-ipvs0 type bridge")
    wait_for("not ready", lambda: not node.show("status")["ready"] and problems())
    node.cni_status().refused(50, "IPVS")
    node.batch("link del kube-ipvs0")
    wait_for("ready again", lambda: node.show("status")["ready"] and not problems())

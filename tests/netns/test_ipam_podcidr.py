"""ipam = podcidr: addresses of the Node's spec.podCIDRs, and nothing written."""
import ipaddress
import json
import os
import signal

from lab import BINARY, ping, wait_for

V4 = {"one": "10.42.1.0/24", "two": "10.42.2.0/24"}
V6 = {"one": "fd00:10:42:1::/64", "two": "fd00:10:42:2::/64"}


def node_object(name, *cidrs):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs}}


def start(lab, *names, **config):
    lab.write("nodes.json", [node_object(n, V4[n], V6[n]) for n in V4])
    nodes = [lab.node(n) for n in names]
    for node in nodes:
        node.start(ipam="podcidr", encapsulation="vxlan", **config)
    return nodes


def inside(address, cidr):
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)


def written(lab):
    """What agents keep, but for nodes' addresses and endpoints, which are no part of address management."""
    return sorted(p.name for p in (lab.store / ".manx").iterdir() if p.is_dir() and p.name not in ("nodes", "tmp", "workloadendpoints")
                  and any(p.rglob("*.json")))


def test_pods_of_two_nodes_and_no_writes(own_lab):
    one, two = start(own_lab, "one", "two")
    a, b, c = one.pod("a"), one.pod("b"), two.pod("c")
    for pod, name in ((a, "one"), (b, "one"), (c, "two")):
        assert inside(pod.v4, V4[name]) and inside(pod.v6, V6[name])
    assert a.v4 == "10.42.1.2", "the first two are no pod's"
    assert all(ping(x, ip) for x, y in ((a, b), (a, c), (c, a)) for ip in (y.v4, y.v6))
    assert ping(two, a.v4) and ping(two, a.v6), "the node itself, from its end of the tunnel"
    vxlan = two.ip("addr", "show", "vxlan.calico")[0]["addr_info"]
    assert "10.42.2.1" in [x["local"] for x in vxlan]
    assert written(own_lab) == []
    assert not (own_lab.store / ".manx" / "ipamblocks").exists()
    show = {x["cidr"]: x for x in one.show("ipam", "show")["blocks"]}
    assert show[V4["one"]]["used"] == 2 and show[V4["one"]]["node"] == "one" and show[V4["one"]]["state"] == "confirmed"
    assert show[V4["two"]]["node"] == "two"
    assert one.show("ipam", "check") == {"leaked": [], "duplicate": []}
    for pod in (a, b, c):
        pod.check(conf={"cniVersion": "1.0.0"}).ok()
        pod.delete().ok()
    assert one.show("status")["ipam"]["used"] == 0 and written(own_lab) == []


def test_the_kernel_is_the_truth_at_start(own_lab):
    one, = start(own_lab, "one")
    pods = [one.pod("p%d" % i) for i in range(5)]
    gone = pods.pop(1)
    one.kill()
    gone.remove()
    one.ip("route", "del", pods[0].v4, "dev", pods[0].host_if)
    one.start()
    wait_for("its address is back", lambda: one.show("status")["ipam"]["used"] == 8)
    assert ping(one, pods[0].v4), "its neighbour entry says whose the address is"
    more = [one.pod("q%d" % i) for i in range(20)]
    addresses = [p.v4 for p in pods + more]
    assert len(set(addresses)) == len(addresses)
    assert "no block knows" not in one.log()


def test_a_pod_keeps_its_name_over_the_agents_death(own_lab):
    one, = start(own_lab, "one")
    long = "web-" + "x" * 200
    own_lab.write("pod.json", {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": long}})
    pods = [one.pod(name, namespace="shop") for name in ("web-0", long)]
    one.restart(signal.SIGKILL)
    rows = wait_for("both are published", lambda: (lambda r: len(r) == 2 and r)(own_lab.objects("workloadendpoints")))
    assert {(r["metadata"]["namespace"], r["spec"]["pod"]) for r in rows.values()} == {("shop", "web-0"), ("shop", long)}
    for pod in pods:
        had = pod.v4
        assert pod.add().v4 == had


def test_full_and_foreign_addresses(own_lab, tmp_path):
    own_lab.write("nodes.json", [node_object("one", "10.42.9.0/30")])
    one = own_lab.node("one").start(ipam="podcidr", pool=["10.42.0.0/16"])
    one.pod("a"), one.pod("b")
    one.new_pod("c").start_add().finish().refused(101, "podCIDR 10.42.9.0/30", "full")
    fixed = {"runtimeConfig": {"ips": ["10.42.77.7/32"]}}
    one.new_pod("d").start_add(conf=fixed).finish().refused(101, "10.42.77.7", "podCIDR 10.42.9.0/30")
    taken = {"runtimeConfig": {"ips": ["10.42.9.1/32"]}}
    one.new_pod("e").start_add(conf=taken).finish().refused(103, "10.42.9.1")
    os.symlink(BINARY, tmp_path / "calico-ipam")
    one.new_pod("f").start_add(binary=str(tmp_path / "calico-ipam")).finish().refused(7, "ipam = podcidr")


def test_podcidr_comes_late_and_goes(own_lab):
    one = own_lab.node("one").start(ipam="podcidr", wait=False)
    wait_for("it says what is missing", lambda: "no spec.podCIDRs" in one.manx("status", "-o", "json", check=False).stdout)
    one.cni_status().refused(50)
    own_lab.write("nodes.json", [node_object("one", V4["one"])])
    one.wait_ready()
    a = one.pod("a")
    assert a.v6 is None and inside(a.v4, V4["one"])
    own_lab.write("nodes.json", [node_object("one", "10.42.1.0/24"), node_object("two", "10.42.1.0/24")])
    wait_for("one podCIDR of two nodes is named", lambda: "is that of node" in json.dumps(one.show("status")["problems"]))
    own_lab.write("nodes.json", [node_object("one", "10.99.1.0/24")])
    wait_for("outside of all pools", lambda: "in no pool" in json.dumps(one.show("status")["problems"]))
    one.new_pod("b").start_add().finish().refused(101)
    assert ping(one, a.v4), "who is there keeps its address"


def test_adds_go_on_while_the_datastore_is_away(own_lab):
    one, = start(own_lab, "one")
    own_lab.store.rename(own_lab.dir / "elsewhere")
    wait_for("it is away", lambda: one.show("status")["datastore"]["state"] == "away")
    pods = [one.pod("p%d" % i) for i in range(12)]
    assert len({p.v4 for p in pods}) == 12
    for p in pods:
        p.delete().ok()
    (own_lab.dir / "elsewhere").rename(own_lab.store)


def test_pools_of_the_datastore_go_before_the_configurations(own_lab):
    pool = {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": "all"},
            "spec": {"cidr": "10.42.0.0/16", "vxlanMode": "Never", "ipipMode": "Never", "natOutgoing": False}}
    own_lab.write("pool.json", pool)
    one, two = start(own_lab, "one", "two")
    a, b = one.pod("a"), two.pod("b")
    assert ping(a, b.v4) and one.ip("route", "show", V4["two"])[0]["dev"] == "eth0"
    own_lab.erase("pool.json")
    wait_for("the configuration's is there again", lambda: one.ip("route", "show", V4["two"])[0]["dev"] == "vxlan.calico")
    assert ping(a, b.v4)

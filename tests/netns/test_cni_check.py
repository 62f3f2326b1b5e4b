"""CHECK finds every change of what ADD made, names it, and changes nothing; STATUS says whether an ADD could work."""
import copy
import json
import os
import signal
import socket
import statistics
import struct
import time

import pytest

from lab import ROOT, container_id, host_if, wait_for

GATEWAY_V4, GATEWAY_V6, HOST_MAC = "169.254.1.1", "fe80::ecee:eeff:feee:eeee", "ee:ee:ee:ee:ee:ee"
CHANGED = 106
ADD_AGAIN = object()        # restores what one command cannot: an ADD that is repeated puts everything back


@pytest.fixture(scope="module")
def one(lab):
    return lab.node().start()


@pytest.fixture(scope="module")
def web(one):
    return one.pod("web-0", uid="7d0ff5a5-6c1f-4a0b-8d5d-3c1f0e4b7a11")


def objects(name, **spec):
    return {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": name}, "spec": spec}


# --- what ADD made, and is not so any more --------------------------------------------------------

# Where; what is done to it; what CHECK must name; what takes it back.  {h}: the host end.
LINKS = {
    "host end deleted": ("node", ["link del {h}"], ["{h}", "missing"], ADD_AGAIN),
    "host end renamed": ("node", ["link set {h} down", "link set {h} name other0"], ["{h}", "missing"], ADD_AGAIN),
    "host end down": ("node", ["link set {h} down"], ["{h}", "down"], ADD_AGAIN),
    "host end's MAC": ("node", ["link set {h} address ee:ee:ee:ee:ee:ef"], ["{h}", "MAC", "ee:ee:ee:ee:ee:ef"],
                       ADD_AGAIN),
    "host end's MTU": ("node", ["link set {h} mtu 1300"], ["{h}", "MTU", "1300"], ["link set {h} mtu {mtu}"]),
    "host end's alias": ("node", ["link set {h} alias nobody"], ["{h}", "alias", "nobody"], ADD_AGAIN),
    "pod's end deleted": ("pod", ["link del eth0"], ["{h}", "missing"], ADD_AGAIN),
    "pod's end renamed": ("pod", ["link set eth0 down", "link set eth0 name eth7"], ["eth0", "missing"], ADD_AGAIN),
    "pod's end down": ("pod", ["link set eth0 down"], ["eth0", "down"], ADD_AGAIN),
    "pod's end's MAC": ("pod", ["link set eth0 address 0a:58:01:02:03:04"], ["eth0", "MAC", "0a:58:01:02:03:04"],
                        ADD_AGAIN),
    "pod's end's MTU": ("pod", ["link set eth0 mtu 1300"], ["MTU", "1300"], ["link set eth0 mtu {mtu}"]),
    "another link in its place": ("pod", ["link set eth0 down", "link set eth0 name old0",
                                          "link add eth0 mtu {mtu} address {mac} type veth peer name old1", "link set eth0 up"],
                                  ["{h}", "not the other end"],
                                  ["link del eth0", "link set old0 name eth0", "link set eth0 up", "addr add {v6}/128 dev eth0 nodad",
                                   "neigh add {g4} lladdr {hm} dev eth0 nud permanent",
                                   "neigh add {g6} lladdr {hm} dev eth0 nud permanent",
                                   "route add {g4}/32 dev eth0 proto static scope link",
                                   "route add 0.0.0.0/0 via {g4} dev eth0 proto static",
                                   "route add ::/0 via {g6} dev eth0 proto static"]),
}

PARTS = {
    "host end's gateway address": ("node", ["addr del {g6}/64 dev {h}"], ["{h}", "address", "{g6}"],
                                   ["addr replace {g6}/64 dev {h} nodad"]),
    "host end's IPv4 neighbour": ("node", ["neigh del {v4} dev {h}"], ["{h}", "neighbour {v4}"],
                                  ["neigh replace {v4} lladdr {mac} dev {h} nud permanent"]),
    "host end's IPv6 neighbour": ("node", ["neigh del {v6} dev {h}"], ["{h}", "neighbour {v6}"],
                                  ["neigh replace {v6} lladdr {mac} dev {h} nud permanent"]),
    "host end's neighbour's MAC": ("node", ["neigh replace {v4} lladdr 02:00:00:00:00:01 dev {h} nud permanent"],
                                   ["{h}", "neighbour {v4}"], ["neigh replace {v4} lladdr {mac} dev {h} nud permanent"]),
    "host end's neighbour's state": ("node", ["neigh replace {v4} lladdr {mac} dev {h} nud stale"], ["{h}", "neighbour {v4}"],
                                     ["neigh replace {v4} lladdr {mac} dev {h} nud permanent"]),
    "pod's IPv4 address": ("pod", ["addr del {v4}/32 dev eth0"], ["eth0", "address {v4}/32"], ADD_AGAIN),
    "pod's IPv6 address": ("pod", ["addr del {v6}/128 dev eth0"], ["eth0", "address {v6}/128"], ADD_AGAIN),
    "pod's IPv4 neighbour": ("pod", ["neigh del {g4} dev eth0"], ["eth0", "neighbour {g4}"],
                             ["neigh add {g4} lladdr {hm} dev eth0 nud permanent"]),
    "pod's IPv6 neighbour": ("pod", ["neigh del {g6} dev eth0"], ["eth0", "neighbour {g6}"],
                             ["neigh add {g6} lladdr {hm} dev eth0 nud permanent"]),
    "pod's IPv4 default route": ("pod", ["route del 0.0.0.0/0 via {g4}"], ["eth0", "route 0.0.0.0/0", "{g4}"],
                                 ["route add 0.0.0.0/0 via {g4} dev eth0 proto static"]),
    "pod's default route's gateway": ("pod", ["route replace 0.0.0.0/0 dev eth0 proto static"], ["eth0", "route 0.0.0.0/0"],
                                      ["route replace 0.0.0.0/0 via {g4} dev eth0 proto static"]),
    "pod's route to its gateway": ("pod", ["route replace {g4}/32 dev lo"], ["eth0", "route {g4}/32"], ADD_AGAIN),
    "pod's IPv6 default route": ("pod", ["route del ::/0 via {g6} dev eth0"], ["eth0", "route ::/0", "{g6}"],
                                 ["route add ::/0 via {g6} dev eth0 proto static"]),
}

SETTINGS = {"ipv4/conf/{h}/forwarding": ("0", "1"), "ipv4/conf/{h}/rp_filter": ("0", "1"),
            "ipv4/conf/{h}/proxy_arp": ("1", "0"), "ipv6/conf/{h}/addr_gen_mode": ("0", "1"),
            "ipv6/conf/{h}/accept_ra": ("2", "0")}


def facts(pod):
    return {"h": pod.host_if, "v4": pod.v4, "v6": pod.v6, "g4": GATEWAY_V4, "g6": GATEWAY_V6, "hm": HOST_MAC,
            "mac": pod.links()["eth0"]["address"], "mtu": pod.links()["eth0"]["mtu"]}


def is_asking(process):
    """The plugin has sent its request and waits."""
    with open("/proc/%d/comm" % process.pid) as name, open("/proc/%d/syscall" % process.pid) as where:
        return name.read().strip() == "manx" and where.read().split()[0] != "running"


def check_after(pod, change):
    """The answer to a change that the agent has not heard of yet: it would repair a host end before it is asked."""
    pod.node.process.send_signal(signal.SIGSTOP)
    try:
        call = pod.start_check()
        wait_for("the plugin has asked", lambda: is_asking(call.process))
        time.sleep(0.03)
        change()
    finally:
        pod.node.process.send_signal(signal.SIGCONT)
    return call.finish()


@pytest.mark.parametrize("what", [*LINKS, *PARTS])
def test_check_names_what_has_changed(one, web, what):
    place, change, words, back = {**LINKS, **PARTS}[what]
    known = facts(web)
    there = one if place == "node" else web
    assert web.check().ok().out == ""
    try:
        answer = check_after(web, lambda: there.batch(*(line.format(**known) for line in change)))
        answer.refused(CHANGED, *(word.format(**known) for word in words))
        if back is ADD_AGAIN:
            web.add()
        else:
            there.batch(*(line.format(**known) for line in back))
        assert web.check().ok().out == ""
    finally:
        web.add()       # whatever failed, the next one finds the pod whole


@pytest.mark.parametrize("key", SETTINGS)
def test_check_names_a_setting_that_has_changed(one, web, key):
    path = "net/" + key.format(h=web.host_if)
    other, ours = SETTINGS[key]
    assert one.sysctl_get(path) == ours
    try:
        check_after(web, lambda: one.sysctl({path: other})).refused(CHANGED, web.host_if, key.rsplit("/", 1)[1])
    finally:
        one.sysctl({path: ours})
    assert web.check().ok().out == ""


@pytest.mark.parametrize("family", [4, 6])
def test_check_names_the_pods_route_when_another_is_in_its_place(one, web, family):
    address = getattr(web, "v%d" % family)
    one.batch("route replace %s dev %s metric 1024 proto static" % (address, web.host_if))
    try:
        wait_for("the agent has seen it", lambda: web.check().code)
        web.check().refused(CHANGED, "route", address)
    finally:
        one.batch("route del %s dev %s metric 1024 proto static" % (address, web.host_if))
    wait_for("the agent has repaired it", lambda: web.check().code == 0)


def test_check_finds_what_it_should_without_ipv6(own_lab):
    node = own_lab.node().start(pool=["10.42.0.0/16"])
    pod = node.pod("four")
    assert pod.v6 is None
    assert pod.check().ok().out == ""
    pod.batch("route del 0.0.0.0/0 via " + GATEWAY_V4)
    pod.check().refused(CHANGED, "0.0.0.0/0")
    pod.add()
    assert pod.check().ok().out == ""


def test_check_finds_what_it_should_without_ipv4(own_lab):
    node = own_lab.node().start(pool=["fd00:10:42::/48"])
    pod = node.pod("six")
    assert pod.v4 is None
    assert pod.check().ok().out == ""
    check_after(pod, lambda: node.batch("neigh del %s dev %s" % (pod.v6, pod.host_if))).refused(CHANGED, pod.v6)
    pod.add()
    assert pod.check().ok().out == ""


def test_every_message_of_add_has_its_check():
    """Whoever adds an object to an end adds it to the data that CHECK reads: link.c itself knows none."""
    text = (ROOT / "src/cni/link.c").read_text()
    for word in ("rtnl_addr_put", "rtnl_neigh_put", "rtnl_route_put", "rtnl_route_replace", "fs_sysctl", "IFLA_"):
        assert word not in text, word


# --- what others may add --------------------------------------------------------------------------

def test_check_allows_what_other_plugins_add(one, web):
    web.batch("addr add 203.0.113.7/32 dev eth0", "addr add 2001:db8:7::7/128 dev eth0 nodad",
              "route add 203.0.113.0/24 via %s dev eth0" % GATEWAY_V4, "route add 2001:db8:7::/64 via %s dev eth0" % GATEWAY_V6,
              "route add 0.0.0.0/0 via %s dev eth0 metric 4096" % GATEWAY_V4,
              "link add net1 type veth peer name net2")
    web.run("tc", "qdisc", "add", "dev", "eth0", "root", "pfifo")
    web.sysctl({"net/ipv4/ip_forward": 0, "net/ipv4/conf/eth0/arp_notify": 1})
    one.batch("addr add 203.0.113.8/32 dev " + web.host_if, "route add 203.0.113.7/32 dev " + web.host_if)
    one.run("tc", "qdisc", "add", "dev", web.host_if, "root", "pfifo")
    try:
        web.check().ok()
    finally:
        web.sysctl({"net/ipv4/ip_forward": 1, "net/ipv4/conf/eth0/arp_notify": 0})
        web.run("tc", "qdisc", "del", "dev", "eth0", "root")
        one.run("tc", "qdisc", "del", "dev", web.host_if, "root")
        one.batch("route del 203.0.113.7/32 dev " + web.host_if, "addr del 203.0.113.8/32 dev " + web.host_if)
        web.batch("link del net1", "route del 0.0.0.0/0 metric 4096", "route del 2001:db8:7::/64", "route del 203.0.113.0/24",
                  "addr del 2001:db8:7::7/128 dev eth0", "addr del 203.0.113.7/32 dev eth0")
        web.add()       # the kernel forgets a link's neighbours with its last IPv4 address
    assert web.check().ok().out == ""


def snapshot(*spaces):
    text = [s.run("sh", "-c", "ip -d addr; ip neigh; ip -N route show table all; ip -6 -N route show table all; "
                  "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/* /proc/sys/net/ipv6/conf/*/* 2>/dev/null",
                  check=False).stdout for s in spaces]
    return [" ".join(w for w in line.split() if not w.endswith("sec")) for t in text for line in t.splitlines()
            if "PERMANENT" in line or "lladdr" not in line]


def test_check_changes_nothing(one, web):
    web.sysctl({"net/ipv4/ip_forward": 0, "net/ipv6/conf/default/accept_ra": 1})
    web.batch("neigh del %s dev eth0" % GATEWAY_V4)
    before = snapshot(one, web)
    web.check().refused(CHANGED, GATEWAY_V4)
    assert snapshot(one, web) == before
    web.add()
    before = snapshot(one, web)
    web.check().ok()
    assert snapshot(one, web) == before


# --- prevResult -----------------------------------------------------------------------------------

def without(result, what, i):
    del result[what][i]


PREV = {
    "no host end": (lambda r: without(r, "interfaces", 0), CHANGED, ["{h}"]),
    "no pod's end": (lambda r: without(r, "interfaces", 1), CHANGED, ["eth0"]),
    "no sandbox": (lambda r: r["interfaces"][1].pop("sandbox"), CHANGED, ["eth0"]),
    "another name": (lambda r: r["interfaces"][1].update(name="eth1"), CHANGED, ["eth0"]),
    "another host MAC": (lambda r: r["interfaces"][0].update(mac="02:00:00:00:00:01"), CHANGED, ["{h}", "02:00:00:00:00:01"]),
    "another MAC": (lambda r: r["interfaces"][1].update(mac="02:00:00:00:00:01"), CHANGED, ["eth0", "02:00:00:00:00:01"]),
    "no IPv4 address": (lambda r: without(r, "ips", 0), CHANGED, ["{v4}"]),
    "no IPv6 address": (lambda r: without(r, "ips", 1), CHANGED, ["{v6}"]),
    "another address": (lambda r: r["ips"][0].update(address="10.42.255.1/32"), CHANGED, ["{v4}"]),
    "no interfaces": (lambda r: r.pop("interfaces"), CHANGED, ["{h}"]),
    "no ips": (lambda r: r.pop("ips"), CHANGED, ["{v4}"]),
    "a bad address": (lambda r: r["ips"][0].update(address="10.42"), 6, ["prevResult.ips[0].address"]),
    "a number for a name": (lambda r: r["interfaces"][0].update(name=7), 6, ["prevResult.interfaces[0].name"]),
    "interfaces that are no list": (lambda r: r.update(interfaces={}), 6, ["prevResult.interfaces"]),
}


@pytest.mark.parametrize("what", PREV)
def test_check_compares_prev_result(web, what):
    change, code, words = PREV[what]
    prev = copy.deepcopy(web.result.json)
    change(prev)
    web.check(conf={"prevResult": prev}).refused(code, *(w.format(**facts(web)) for w in words))


def test_check_allows_additions_to_prev_result(web):
    prev = copy.deepcopy(web.result.json)
    prev["interfaces"] += [{"name": "eth0", "mac": "02:00:00:00:00:02"}, {"name": "net1", "sandbox": web.path}]
    prev["ips"] += [{"address": "192.0.2.77/24", "interface": 3, "gateway": "192.0.2.1"}]
    prev["routes"] = [{"dst": "198.51.100.0/24"}]
    prev["interfaces"][0]["mac"] = HOST_MAC.upper()
    assert web.check(conf={"prevResult": prev}).ok().out == ""


@pytest.mark.parametrize("prev", [None, "null"])
def test_check_without_prev_result_is_code_7(one, web, prev):
    conf = json.loads(one.conf())
    if prev:
        conf["prevResult"] = None
    one.cni("CHECK", web.container, web.path, stdin=json.dumps(conf), **web.identity()).refused(7, "prevResult")


@pytest.mark.parametrize("prev", [[], "x", 7])
def test_check_with_a_prev_result_of_another_type_is_code_6(web, prev):
    web.check(conf={"prevResult": prev}).refused(6, "prevResult")


def test_check_believes_the_mtu_that_prev_result_says(one):
    """Another plugin of the chain may have changed the pod's end."""
    pod = one.new_pod("mtu").add(conf={"cniVersion": "1.1.0"})
    assert pod.check().ok().out == ""
    pod.batch("link set eth0 mtu 1300")
    pod.check().refused(CHANGED, "MTU", "1300")
    assert pod.start_add(conf={"cniVersion": "1.1.0"}).finish().ok().json == pod.result.json
    pod.result.json["interfaces"][1]["mtu"] = 1300
    pod.check().ok()
    pod.delete().ok()


# --- when, of whom, in which version --------------------------------------------------------------

@pytest.mark.parametrize("version", ["0.4.0", "1.0.0", "1.1.0"])
def test_check_passes_right_after_add(one, version):
    pod = one.new_pod("right-after").add(conf={"cniVersion": version})
    answer = pod.check().ok()
    assert (answer.out, answer.err) == ("", "")
    pod.delete().ok()


@pytest.mark.parametrize("verb,version", [("CHECK", "0.3.1"), ("STATUS", "0.3.1"), ("STATUS", "0.4.0"), ("STATUS", "1.0.0"),
                                          ("GC", "1.0.0")])
def test_verb_that_the_version_does_not_have_is_code_1(one, web, verb, version):
    conf = {"cniVersion": version, "prevResult": web.result.json}
    one.cni(verb, web.container, web.path, conf=conf, **web.identity()).refused(1, verb, version)


def test_check_of_nobody(one, web):
    one.cni("CHECK", container_id("nobody"), web.path, conf={"prevResult": web.result.json}, **web.identity()).refused(
        CHANGED, "no attachment")


def test_check_of_another_pods_namespace(one, web):
    other = one.pod("other")
    web.check(netns=other.path).refused(CHANGED, "not the other end")
    other.delete().ok()
    other.check().refused(CHANGED, "no attachment")


def test_check_wants_the_pods_namespace(one, web):
    one.cni("CHECK", web.container, None, conf={"prevResult": web.result.json}, **web.identity()).refused(4, "CNI_NETNS")
    web.check(netns="/nowhere").refused(8, "/nowhere")
    web.check(netns=one.path).refused(8)


def test_check_passes_after_a_restart_and_waits_for_the_agent(own_lab):
    node = own_lab.node().start()
    pod = node.pod("stays")
    node.stop()
    pod.check().refused(50, node.socket_path)
    node.start(wait=False)
    wait_for("the socket", lambda: os.path.exists(node.socket_path))
    assert pod.check().ok().out == ""
    for _ in range(20):
        pod.check().ok()


# --- STATUS ---------------------------------------------------------------------------------------

def test_status_says_nothing_when_all_is_well(one, web):
    answer = one.cni_status().ok()
    assert (answer.out, answer.err) == ("", "")


def test_status_without_an_agent_is_code_50(own_lab):
    answer = own_lab.node().cni_status()
    answer.refused(50, "no agent")
    assert answer.ms < 1000


def test_status_of_an_agent_that_is_not_ready_is_code_50(own_lab):
    """Without a default pool, which the datastore's lock keeps it from writing."""
    import fcntl
    (own_lab.store / ".manx").mkdir()
    node = own_lab.node()
    with open(own_lab.store / ".manx" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        node.start(wait=False)
        wait_for("the socket", lambda: os.path.exists(node.socket_path))
        answer = node.cni_status()
        answer.refused(50)
        assert "IPPool" in answer.json["msg"] or "datastore" in answer.json["msg"]
        fcntl.flock(lock, fcntl.LOCK_UN)
    node.wait_ready()
    node.cni_status().ok()


def test_status_without_a_usable_pool_is_code_50_and_with_a_pod_in_trouble_51(own_lab):
    node = own_lab.node().start(pool=["10.42.0.0/16"], encapsulation="none")
    pod = node.pod("alone")
    node.cni_status().ok()
    own_lab.write("pool.json", objects("default-ipv4-ippool", cidr="10.42.0.0/16", blockSize=26, disabled=True))
    wait_for("the pool is off", lambda: node.cni_status().code)
    node.cni_status().refused(50, "IPPool")
    node.batch("route replace %s dev %s metric 1024 proto static" % (pod.v4, pod.host_if))
    wait_for("the route is missed", lambda: node.cni_status().json["code"] == 51)
    node.cni_status().refused(51, "IPPool", pod.v4)
    own_lab.erase("pool.json")
    wait_for("the pool is on", lambda: node.cni_status().code == 0)
    node.batch("route del %s dev %s metric 1024 proto static" % (pod.v4, pod.host_if))
    wait_for("all is well", lambda: pod.check().code == 0)
    node.cni_status().ok()


def test_status_does_not_need_a_free_address(own_lab):
    node = own_lab.node().start(pool=["10.99.0.0/30"], block_size=30, encapsulation="none")
    for i in range(4):
        node.pod("p-%d" % i)
    node.new_pod("more").start_add().finish().refused(101)
    node.cni_status().ok()


@pytest.mark.waits
def test_status_of_an_agent_that_hangs_ends(own_lab):
    node = own_lab.node().start()
    node.process.send_signal(signal.SIGSTOP)
    try:
        answer = node.cni_status()
    finally:
        node.process.send_signal(signal.SIGCONT)
    answer.refused(50)
    assert 4_000 < answer.ms < 8_000
    node.cni_status().ok()


def test_agent_answers_status_within_a_millisecond(one, web):
    """The wire alone, without the start of a process: connect, one frame there, one back."""
    conf = json.dumps({"cniVersion": "1.1.0", "name": "k8s-pod-network", "type": "manx"})
    payload = b"CNI_COMMAND=STATUS\0CNI_PATH=/opt/cni/bin\0\0" + conf.encode()
    took = []
    for _ in range(50):
        begun = time.monotonic()
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(one.socket_path)
            s.sendall(struct.pack(">BBBBI", 1, 1, 0, 0, len(payload)) + payload)
            answer = s.recv(100)
        took.append((time.monotonic() - begun) * 1000)
        assert answer == struct.pack(">BBBBI", 1, 1, 0, 0, 0)
    print("STATUS: median %.3f ms" % statistics.median(took))
    assert statistics.median(took) < 1


def test_status_touches_no_namespace(one):
    answer = one.cni("STATUS", None, "/nowhere", None, conf={"cniVersion": "1.1.0"}, env={"CNI_NETNS": "/nowhere"})
    assert answer.ok().out == ""
    assert host_if("default", "x") not in one.links()

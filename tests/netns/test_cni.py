"""The CNI face: verbs, results, errors, and what is in the kernel when ADD has answered."""
import fcntl
import hashlib
import json
import os
import socket
import threading
import time

import pytest

from lab import container_id, host_if, ping, tcp, udp, wait_for

VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]
HOST_MAC = "ee:ee:ee:ee:ee:ee"
GATEWAY_V4, GATEWAY_V6 = "169.254.1.1", "fe80::ecee:eeff:feee:eeee"


@pytest.fixture(scope="module")
def nodes(lab):
    return [lab.node().start(), lab.node().start()]


@pytest.fixture(scope="module")
def one(nodes):
    return nodes[0]


@pytest.fixture(scope="module")
def two(nodes):
    return nodes[1]


@pytest.fixture(scope="module")
def web(one):
    return one.pod("web-0", uid="7d0ff5a5-6c1f-4a0b-8d5d-3c1f0e4b7a11")


@pytest.fixture(scope="module")
def api(one):
    return one.pod("api-0")


@pytest.fixture(scope="module")
def db(two):
    return two.pod("db-0")


def used(node):
    return sum(b["used"] for b in node.show("ipam", "show")["blocks"])


# --- results --------------------------------------------------------------------------------------

def test_version_names_what_is_supported(one):
    answer = one.cni("VERSION", None, None, None, stdin=json.dumps({"cniVersion": "1.0.0"})).ok()
    assert answer.json["supportedVersions"] == VERSIONS
    assert answer.json["cniVersion"] in VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_result_has_the_shape_of_the_version_asked_for(one, version):
    pod = one.new_pod("shape-" + version.replace(".", "-"))
    pod.add(conf={"cniVersion": version})
    result = pod.result.json
    mac = pod.links()["eth0"]["address"]
    assert set(result) <= {"cniVersion", "interfaces", "ips", "routes", "dns"}
    assert result["cniVersion"] == version
    host, inside = [{k: v for k, v in i.items() if not (k == "mtu" and version == "1.1.0")} for i in result["interfaces"]]
    assert host == {"name": pod.host_if, "mac": HOST_MAC}
    assert inside == {"name": "eth0", "mac": mac, "sandbox": pod.path}
    want = [{"address": pod.v4 + "/32", "interface": 1}, {"address": pod.v6 + "/128", "interface": 1}]
    if version in ("0.3.1", "0.4.0"):
        want[0]["version"], want[1]["version"] = "4", "6"
    assert result["ips"] == want
    assert pod.delete(conf={"cniVersion": version}).ok().out == ""


def test_result_without_a_pod_identity_is_named_after_the_container(one):
    pod = one.new_pod("anonymous")
    answer = one.cni("ADD", pod.container, pod.path).ok()
    name = "cali" + hashlib.sha1(pod.container.encode()).hexdigest()[:11]
    assert answer.json["interfaces"][0]["name"] == name
    assert name in one.links()
    one.cni("DEL", pod.container, pod.path).ok()


def test_add_again_gives_the_same_result_and_changes_nothing(one, web):
    before = one.links()[web.host_if]["ifindex"], used(one)
    again = one.cni("ADD", web.container, web.path, **web.identity()).ok()
    assert again.json == web.result.json
    assert (one.links()[web.host_if]["ifindex"], used(one)) == before


def test_another_interface_name_is_used(one):
    pod = one.new_pod("renamed")
    answer = one.cni("ADD", pod.container, pod.path, ifname="net0", **pod.identity()).ok()
    assert answer.json["interfaces"][1]["name"] == "net0"
    assert "net0" in pod.links()
    one.cni("DEL", pod.container, pod.path, ifname="net0", **pod.identity()).ok()


# --- the kernel -----------------------------------------------------------------------------------

def test_host_end_has_its_name_its_address_and_one_queue(one, web):
    link = one.links()[web.host_if]
    assert web.host_if == host_if("default", "web-0")
    assert link["address"] == HOST_MAC
    assert link["linkinfo"]["info_kind"] == "veth"
    assert (link["num_tx_queues"], link["num_rx_queues"]) == (1, 1)
    assert "UP" in link["flags"] and link["operstate"] == "UP"
    addresses = one.ip("addr show dev " + web.host_if)[0]["addr_info"]
    assert [(a["local"], a["prefixlen"]) for a in addresses] == [(GATEWAY_V6, 64)]
    assert not addresses[0].get("tentative")


def test_host_end_forwards_and_takes_only_the_pods_source(one, web):
    settings = {"ipv4/conf/%s/forwarding": "1", "ipv4/conf/%s/rp_filter": "1", "ipv4/conf/%s/proxy_arp": "0",
                "ipv6/conf/%s/addr_gen_mode": "1", "ipv6/conf/%s/forwarding": "1"}
    assert {k: one.sysctl_get("net/" + k % web.host_if) for k in settings} == settings


def test_pods_end_has_addresses_routes_and_neighbours(web):
    link = web.links()["eth0"]
    assert link["address"] != HOST_MAC and "UP" in link["flags"]
    assert (link["num_tx_queues"], link["num_rx_queues"]) == (1, 1)
    found = {(a["local"], a["prefixlen"]) for a in web.ip("addr show dev eth0")[0]["addr_info"] if a["scope"] == "global"}
    assert found == {(web.v4, 32), (web.v6, 128)}
    four, six = web.routes(4), web.routes(6)
    assert four["default"]["gateway"] == GATEWAY_V4 and four["default"]["dev"] == "eth0"
    assert four[GATEWAY_V4]["dev"] == "eth0"
    assert six["default"]["gateway"] == GATEWAY_V6 and six["default"]["dev"] == "eth0"
    near = {n["dst"]: n for n in web.ip("neigh show dev eth0")}
    for gateway in (GATEWAY_V4, GATEWAY_V6):
        assert near[gateway]["lladdr"] == HOST_MAC and near[gateway]["state"] == ["PERMANENT"]


def test_host_end_knows_its_pod_without_asking(one, web):
    mac = web.links()["eth0"]["address"]
    near = {n["dst"]: n for n in one.ip("neigh show dev " + web.host_if)}
    assert near[web.v6]["lladdr"] == mac and near[web.v6]["state"] == ["PERMANENT"]


def test_both_ends_carry_the_same_mtu_and_leave_room_for_the_overlay(one, web):
    outer, inner = one.links()[web.host_if]["mtu"], web.links()["eth0"]["mtu"]
    assert outer == inner
    assert inner <= one.show("status")["overlay"]["mtu"] < 1500


def test_pod_routes_carry_our_protocol_and_metric(one, web):
    for family, address in ((4, web.v4), (6, web.v6)):
        route = one.routes(family, protocol=171)[address]
        assert (route["dev"], route["metric"]) == (web.host_if, 1024)
        assert "gateway" not in route


def test_pods_settings_are_written_by_add(one):
    pod = one.new_pod("settings")
    pod.sysctl({"net/ipv6/conf/all/disable_ipv6": 1, "net/ipv6/conf/default/disable_ipv6": 1, "net/ipv4/ip_forward": 0,
                "net/ipv6/conf/default/accept_ra": 1})
    pod.add()
    assert pod.sysctl_get("net/ipv6/conf/eth0/disable_ipv6") == "0"
    assert pod.sysctl_get("net/ipv6/conf/eth0/accept_ra") == "0"
    assert pod.sysctl_get("net/ipv4/ip_forward") == "1"
    assert ping(one, pod.v6)
    pod.delete().ok()


# --- the address works when ADD has answered ------------------------------------------------------

@pytest.mark.parametrize("family", ["v4", "v6"])
def test_first_packet_from_a_pod_of_the_same_node_is_answered(one, web, family):
    pod = one.pod("first-same-" + family)
    assert ping(web, getattr(pod, family))
    assert ping(pod, getattr(web, family))
    pod.delete().ok()


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_first_packet_from_a_pod_of_another_node_is_answered(one, web, db, family):
    wait_for("block routes", lambda: ping(db, getattr(web, family)))
    pod = one.pod("first-other-" + family)
    assert ping(db, getattr(pod, family))
    pod.delete().ok()


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_first_packet_from_the_node_is_answered(one, family):
    pod = one.pod("first-host-" + family)
    assert ping(one, getattr(pod, family))
    assert ping(pod, getattr(one, family))
    pod.delete().ok()


def answers(source, address):
    """One datagram to a port that nobody has: what gets there is refused."""
    with source.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.connect((address, 9))
        s.send(b"x")
        try:
            return bool(s.recv(1))
        except ConnectionRefusedError:
            return True
        except socket.timeout:
            return False


def test_first_packet_of_ipv6_arrives_while_links_are_deleted(own_lab):
    """A deletion holds the lock which the kernel takes before it makes an address the pod's own."""
    node, other, stop = own_lab.node().start(encapsulation="none"), own_lab.namespace("busy"), threading.Event()

    def churn():
        while not stop.is_set():
            other.batch(*(line for i in range(5) for line in ("link add a%d type veth peer name b%d" % (i, i), "link del a%d" % i)))
    busy = threading.Thread(target=churn)
    busy.start()
    try:
        for _ in range(30):
            pod = node.pod("p")
            assert answers(node, pod.v6)
            pod.delete().ok()
    finally:
        stop.set()
        busy.join()


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_tcp_and_udp_cross_nodes_with_the_pods_own_source(web, db, family):
    there = getattr(db, family)
    wait_for("a connection", lambda: tcp(web, there, server=db))
    assert udp(web, there, server=db) == getattr(web, family)


# --- DEL ------------------------------------------------------------------------------------------

def test_del_takes_the_route_at_once_and_the_link_within_a_second(one):
    pod = one.pod("leaving")
    assert pod.delete().ok().out == ""
    for family, address in ((4, pod.v4), (6, pod.v6)):
        assert address not in one.routes(family)
    wait_for("link is gone", lambda: pod.host_if not in one.links(), timeout=1)


def test_del_twice_succeeds(one):
    pod = one.pod("twice")
    before = used(one)
    pod.delete().ok()
    pod.delete().ok()
    assert used(one) == before - 2


def test_del_of_an_unknown_container_succeeds(one):
    one.cni("DEL", container_id("never seen"), "/nowhere", namespace="default", pod="nobody").ok()


@pytest.mark.parametrize("netns", [None, "", "/tmp/no-such-namespace"])
def test_del_without_a_namespace_succeeds(one, netns):
    pod = one.pod("gone")
    one.cni("DEL", pod.container, netns, **pod.identity()).ok()
    wait_for("link is gone", lambda: pod.host_if not in one.links(), timeout=1)
    assert pod.v4 not in one.routes(4)


def test_del_after_the_namespace_died_gives_the_addresses_back(one):
    before = used(one)
    pod = one.pod("died")
    pod.remove()
    wait_for("link is gone", lambda: pod.host_if not in one.links())
    pod.delete().ok()
    assert used(one) == before


def test_del_after_the_network_was_renamed_gives_the_addresses_back(one):
    pod = one.pod("renamed")
    before = sum(b["used"] for b in one.show("ipam", "show")["blocks"])
    one.cni("DEL", pod.container, pod.path, conf={"name": "another-name"}, **pod.identity()).ok()
    assert sum(b["used"] for b in one.show("ipam", "show")["blocks"]) == before - 2
    assert one.show("ipam", "check") == {"leaked": [], "duplicate": []}


def test_late_del_of_an_old_sandbox_leaves_the_new_one(one, web):
    old = one.pod("reborn")
    new = one.pod("reborn")
    assert ping(web, new.v4) and ping(web, new.v6)
    assert "pod default/reborn has a new sandbox, container %s loses its link" % old.container in one.log()
    old.delete().ok()
    time.sleep(0.2)
    assert new.host_if in one.links()
    assert ping(web, new.v4) and ping(web, new.v6)
    new.delete().ok()


# --- many -----------------------------------------------------------------------------------------

def test_a_hundred_adds_at_once_get_a_hundred_addresses(one, two):
    wait_for("the other node's last DEL is known here", lambda: used(two) == used(one))
    before = used(two)
    pods = [two.new_pod("many-%d" % i) for i in range(100)]
    begun = time.monotonic()
    calls = [p.start_add() for p in pods]
    for pod, call in zip(pods, calls):
        pod.added(call.finish())
    print("100 ADDs at once: %.0f ms" % ((time.monotonic() - begun) * 1000))
    for family in ("v4", "v6"):
        assert len({getattr(p, family) for p in pods}) == 100
    assert used(two) == before + 200
    assert all(ping(two, p.v4) for p in pods[::10])
    routes = two.routes(4, protocol=171)
    assert all(p.v4 in routes for p in pods)
    calls = [p.start_delete() for p in pods]
    for call in calls:
        call.finish().ok()
    assert used(two) == before
    for pod in pods:
        pod.remove()
    wait_for("links are gone", lambda: len(two.host_links()) <= 1, timeout=5)


# --- refusals -------------------------------------------------------------------------------------

@pytest.fixture
def bare(one):
    """A pod that is not attached, and must not be afterwards."""
    before = used(one), set(one.links())
    pod = one.new_pod("bare")
    yield pod
    assert "eth0" not in pod.links()
    assert used(one) == before[0]
    assert set(one.links()) <= before[1], "a link is left"
    pod.remove()


def make_file(path):
    path.write_text("no namespace\n")


@pytest.mark.parametrize("make", [None, make_file, os.mkfifo, os.mkdir], ids=["missing", "file", "fifo", "folder"])
def test_namespace_path_that_is_none_is_code_8(one, tmp_path, make):
    path = tmp_path / "netns"
    if make:
        make(path)
    one.cni("ADD", container_id("x"), str(path), namespace="default", pod="x", timeout=10).refused(8, str(path))


def test_namespace_of_another_type_is_code_8(one):
    one.cni("ADD", container_id("x"), "/proc/self/ns/pid", namespace="default", pod="x").refused(8)


def test_namespace_of_the_plugin_itself_is_code_8(one):
    before = set(one.links())
    one.cni("ADD", container_id("x"), one.path, namespace="default", pod="x", ifname="eth9").refused(8)
    assert set(one.links()) == before


def test_interface_that_is_not_ours_is_code_4(one):
    pod = one.new_pod("occupied")
    pod.batch("link add eth0 type veth peer name eth1")
    before = used(one)
    one.cni("ADD", pod.container, pod.path, **pod.identity()).refused(4, "eth0")
    assert used(one) == before
    assert pod.host_if not in one.links()
    assert pod.links()["eth0"]["link"] == "eth1"


def test_host_link_of_its_name_that_is_not_ours_is_code_4(one):
    pod = one.new_pod("squatted")
    one.batch("link add %s type veth peer name squatter" % pod.host_if)
    before = used(one)
    try:
        pod.start_add().finish().refused(4, pod.host_if)
        assert used(one) == before and "eth0" not in pod.links()
        pod.delete().ok()
        assert one.links()[pod.host_if]["link"] == "squatter"
    finally:
        one.batch("link del squatter")
    pod.add().delete().ok()


def test_missing_variables_are_named_in_one_error(one, bare):
    answer = one.cni("ADD", None, None, None)
    answer.refused(4, "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")


def test_unknown_command_is_code_4(one, bare):
    one.cni("FROBNICATE", bare.container, bare.path).refused(4, "FROBNICATE")


@pytest.mark.parametrize("container", ["../../etc", "-x", "a b", "a/b"])
def test_bad_container_id_is_code_4(one, bare, container):
    one.cni("ADD", container, bare.path, **bare.identity()).refused(4, "CNI_CONTAINERID")


@pytest.mark.parametrize("ifname", ["a/b", ".", "..", "sixteen-letters-", "a b", "a:b"])
def test_bad_interface_name_is_code_4(one, bare, ifname):
    one.cni("ADD", bare.container, bare.path, ifname=ifname, **bare.identity()).refused(4, "CNI_IFNAME %s is" % ifname)


@pytest.mark.parametrize("text", ["", "{", '{"cniVersion":"1.0.0","name":}', "[]", "\0\0\0"])
def test_malformed_configuration_is_code_6(one, bare, text):
    one.cni("ADD", bare.container, bare.path, stdin=text, **bare.identity()).refused(6)


@pytest.mark.parametrize("name", [None, "", "a b", "../x"])
def test_bad_network_name_is_code_7(one, bare, name):
    one.cni("ADD", bare.container, bare.path, conf={"name": name}, **bare.identity()).refused(7)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "2.0.0", "x"])
def test_version_that_is_not_supported_is_code_1(one, bare, version):
    one.cni("ADD", bare.container, bare.path, conf={"cniVersion": version}, **bare.identity()).refused(1)


@pytest.mark.parametrize("kind", ["netkit", 1])
def test_device_that_is_not_supported_is_code_2(one, kind):
    """Calico's word for another kind of link; its usual one is as good as none."""
    pod = one.new_pod("device")
    pod.start_add(conf={"device_type": kind}).finish().refused(2, "device_type", str(kind))
    pod.add(conf={"device_type": "veth"})
    pod.delete().ok()


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
def test_plugin_that_is_not_root_says_so(one, bare, verb):
    answer = one.cni(verb, container_id("nobody"), bare.path, wrap=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    answer.refused(5, "Permission denied", "root", one.socket_path)
    assert answer.ms < 5000


def test_del_makes_no_folder_for_a_socket_that_is_nowhere(one, bare, tmp_path):
    one.cni("DEL", container_id("nowhere"), bare.path, conf={"socket": str(tmp_path / "typo" / "manx.sock")}).ok()
    assert not (tmp_path / "typo").exists()


def test_shim_that_is_killed_undoes_its_add(lab, one, bare):
    """The datastore's lock, held here, keeps the ADD in the middle."""
    with open(lab.store / ".manx" / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        call = bare.start_add()
        time.sleep(0.3)
        assert call.process.poll() is None, "the ADD did not wait for the datastore"
        assert one.show("status")["ready"], "the agent does not answer while the lock is held"
        call.kill()
        time.sleep(0.1)
        fcntl.flock(lock, fcntl.LOCK_UN)
    time.sleep(0.5)


# --- pools that are full --------------------------------------------------------------------------

def test_full_pool_is_code_101_names_it_and_gives_the_other_family_back(own_lab):
    node = own_lab.node().start(pool=["10.99.0.0/30", "fd00:99::/120"], block_size=30, encapsulation="none")
    pods = [node.pod("p-%d" % i) for i in range(4)]
    assert sorted(p.v4 for p in pods) == ["10.99.0.%d" % i for i in range(4)]
    assert used(node) == 8
    more = node.new_pod("one-more")
    more.start_add().finish().refused(101, "default-ipv4-ippool")
    assert used(node) == 8, "the IPv6 address was not given back"
    assert "eth0" not in more.links()
    assert set(node.host_links()) == {p.host_if for p in pods}
    pods[2].delete().ok()
    more.add()
    assert more.v4 == pods[2].v4


# --- time -----------------------------------------------------------------------------------------

@pytest.mark.waits
def test_waiting_ends_when_it_should(own_lab):
    """Without an agent ADD is code 11 after 10 s; with one that cannot write, undone with 11 after 20 s."""
    alone, stuck = own_lab.node(), own_lab.node().start()
    first, second = alone.new_pod("a"), stuck.new_pod("b")
    with open(own_lab.store / ".manx" / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        calls = first.start_add(), second.start_add()
        answer = calls[0].finish()
        answer.refused(11)
        assert 9_000 < answer.ms < 12_000, answer.ms
        answer = calls[1].finish()
        answer.refused(11)
        assert 15_000 < answer.ms < 25_000, answer.ms
        fcntl.flock(lock, fcntl.LOCK_UN)
    assert "eth0" not in first.links() and "eth0" not in second.links()
    wait_for("nothing is kept", lambda: used(stuck) == 0)
    assert not stuck.host_links()
    second.add()


def test_add_waits_for_an_agent_that_is_starting(own_lab):
    node = own_lab.node()
    pod = node.new_pod("early")
    call = pod.start_add()
    time.sleep(0.5)
    node.start()
    pod.added(call.finish())
    assert ping(node, pod.v4) and ping(node, pod.v6)


def test_del_without_an_agent_is_replayed_when_it_starts(own_lab):
    node = own_lab.node().start()
    pods = [node.pod("left-%d" % i) for i in range(2)]
    stays = node.pod("stays")
    node.stop()
    for pod in pods:
        pod.delete().ok()
    notes = node.dir / "run" / "del"
    assert len(list(notes.iterdir())) == 2
    node.start()
    wait_for("addresses are given back", lambda: used(node) == 2)
    wait_for("notes are gone", lambda: not list(notes.iterdir()))
    wait_for("links are gone", lambda: set(node.host_links()) == {stays.host_if})
    assert ping(node, stays.v4)
    assert pods[0].v4 not in node.routes(4)

"""The plugin under other plugins' names: loopback, calico, calico-ipam; and as Multus calls it."""
import json
import os

import pytest

from lab import BINARY, container_id, ping, run, tcp, wait_for

VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]
LO = "00:00:00:00:00:00"


@pytest.fixture(scope="module")
def one(lab):
    return lab.node().start()


@pytest.fixture(scope="module")
def two(lab, one):
    return lab.node().start()


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """The path of a link to the program, by its name."""
    folder = tmp_path_factory.mktemp("bin")
    for name in ("calico", "calico-ipam", "loopback"):
        os.symlink(BINARY, folder / name)
    return {name: str(folder / name) for name in os.listdir(folder)}


def used(node):
    return sum(b["used"] for b in node.show("ipam", "show")["blocks"])


# --- loopback -------------------------------------------------------------------------------------

@pytest.fixture
def quiet(one):
    """A namespace whose lo is down, as a runtime makes them; nobody's agent is asked for it."""
    pod = one.new_pod("quiet")
    pod.batch("link set lo down")
    yield pod
    pod.remove()


def call(node, faces, verb, pod, version="1.0.0", **kw):
    conf = {"cniVersion": version, "name": "cni-loopback", "type": "loopback", "socket": None, **kw.pop("conf", {})}
    return node.cni(verb, pod.container, kw.pop("netns", pod.path), "lo", conf=conf, binary=faces["loopback"], **kw)


def is_up(pod):
    return "UP" in pod.links()["lo"]["flags"]


@pytest.mark.parametrize("version", VERSIONS)
def test_loopback_brings_lo_up_and_says_what_it_has(one, quiet, faces, version):
    answer = call(one, faces, "ADD", quiet, version).ok()
    want = [{"address": "127.0.0.1/8", "interface": 0}, {"address": "::1/128", "interface": 0}]
    if version in ("0.3.1", "0.4.0"):
        want[0]["version"], want[1]["version"] = "4", "6"
    assert answer.json == {"cniVersion": version, "interfaces": [{"name": "lo", "mac": LO, "sandbox": quiet.path}],
                           "ips": want, "dns": {}}
    assert is_up(quiet) and ping(quiet, "127.0.0.1") and ping(quiet, "::1")


def test_loopback_goes_down_with_del_and_check_sees_it(one, quiet, faces):
    first = call(one, faces, "ADD", quiet).ok()
    conf = {"prevResult": first.json}
    call(one, faces, "CHECK", quiet, conf=conf).ok()
    assert call(one, faces, "DEL", quiet, conf=conf).ok().out == ""
    assert not is_up(quiet)
    call(one, faces, "CHECK", quiet, conf=conf).refused(106, "lo")
    call(one, faces, "DEL", quiet).ok()


@pytest.mark.parametrize("netns", [None, "", "/nowhere/netns"])
def test_loopback_del_without_a_namespace_succeeds(one, quiet, faces, netns):
    call(one, faces, "DEL", quiet, netns=netns).ok()


def test_loopback_passes_on_what_came_before_it(one, quiet, faces):
    before = {"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/24"}], "dns": {}}
    assert call(one, faces, "ADD", quiet, conf={"prevResult": before}).ok().json == before
    assert is_up(quiet)


def test_loopback_needs_no_agent_but_a_namespace(one, quiet, faces, lab):
    alone = lab.node()
    assert call(alone, faces, "ADD", quiet).ok().ms < 2000
    call(alone, faces, "STATUS", quiet, "1.1.0").ok()
    call(alone, faces, "ADD", quiet, netns="/proc/self/ns/pid").refused(8)
    call(alone, faces, "ADD", quiet, netns=alone.path).refused(8, "own namespace")
    assert "lo" in alone.links()


def test_loopback_is_installed_beside_the_plugin_and_only_where_there_is_none(one, own_lab):
    assert os.readlink(one.dir / "bin" / "loopback") == "manx"
    other = own_lab.node()
    (other.dir / "bin").mkdir(exist_ok=True)
    (other.dir / "bin" / "loopback").write_text("somebody else's\n")
    other.start()
    assert (other.dir / "bin" / "loopback").read_text() == "somebody else's\n"


@pytest.mark.parametrize("name", ["loopback", "calico", "calico-ipam"])
def test_called_by_hand_a_face_says_what_it_is(faces, name):
    answer = run([faces[name]], env={})
    assert answer.stdout == "" and name in answer.stderr
    for version in VERSIONS:
        assert version in answer.stderr


# --- calico ---------------------------------------------------------------------------------------

def test_calico_is_manx(one, faces):
    """An existing list, with all that Calico's installer writes into it."""
    conf = {"cniVersion": "0.4.0", "type": "calico", "log_level": "info", "datastore_type": "kubernetes", "nodename": "x",
            "mtu": 0, "ipam": {"type": "calico-ipam", "assign_ipv4": "true"}, "policy": {"type": "k8s"},
            "kubernetes": {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"}}
    pod = one.new_pod("as-before")
    pod.added(pod.start_add(conf=conf, binary=faces["calico"]).finish())
    assert one.links()[pod.host_if]
    assert ping(one, pod.v4) and ping(pod, "192.0.2.1")
    pod.check(conf=conf, binary=faces["calico"]).ok()
    pod.delete(conf=conf, binary=faces["calico"]).ok()
    wait_for("the link is gone", lambda: pod.host_if not in one.links())


# --- calico-ipam ----------------------------------------------------------------------------------

def ipam(node, faces, verb, container, ifname="net1", version="1.0.0", netns="/nowhere/at/all", **kw):
    """As bridge or macvlan call it: with their own configuration, and a namespace that it need not enter."""
    conf = {"cniVersion": version, "name": "lan", "type": "macvlan", "master": "eth0", "ipam": {"type": "calico-ipam"},
            **kw.pop("conf", {})}
    return node.cni(verb, container, netns, ifname, conf=conf, binary=faces["calico-ipam"], **kw)


@pytest.mark.parametrize("version", VERSIONS)
def test_calico_ipam_gives_addresses_only(one, faces, version):
    before, links = used(one), set(one.links())
    container = container_id("delegated " + version)
    answer = ipam(one, faces, "ADD", container, version=version).ok()
    assert set(answer.json) == {"cniVersion", "ips", "dns"} and answer.json["cniVersion"] == version
    assert [set(ip) for ip in answer.json["ips"]] == \
        [{"address", "version"} if version in ("0.3.1", "0.4.0") else {"address"}] * 2
    assert answer.ips()[0].startswith("10.42.") and answer.ips()[0].endswith("/32") and answer.ips()[1].endswith("/128")
    assert ipam(one, faces, "ADD", container, version=version).ok().json == answer.json
    assert used(one) == before + 2
    assert set(one.links()) == links
    for _ in range(2):
        assert ipam(one, faces, "DEL", container, version=version, netns=None).ok().out == ""
    assert used(one) == before


def test_calico_ipam_check_sees_whether_there_are_addresses(one, faces):
    container = container_id("checked")
    ipam(one, faces, "CHECK", container).refused(106)
    answer = ipam(one, faces, "ADD", container).ok()
    ipam(one, faces, "CHECK", container, conf={"prevResult": answer.json}).ok()
    ipam(one, faces, "CHECK", container, ifname="net2", conf={"prevResult": answer.json}).refused(106)
    ipam(one, faces, "DEL", container).ok()
    ipam(one, faces, "CHECK", container, conf={"prevResult": answer.json}).refused(106)


def test_calico_ipam_holds_each_interface_of_a_container_apart(one, faces):
    container, before = container_id("several"), used(one)
    first, second = ipam(one, faces, "ADD", container).ok(), ipam(one, faces, "ADD", container, ifname="net2").ok()
    assert not set(first.ips()) & set(second.ips())
    ipam(one, faces, "DEL", container).ok()
    assert used(one) == before + 2
    assert ipam(one, faces, "ADD", container, ifname="net2").ok().ips() == second.ips()
    ipam(one, faces, "DEL", container, ifname="net2").ok()
    assert used(one) == before


def test_calico_ipam_addresses_outlive_the_agent_and_are_no_leak(own_lab, faces):
    node = own_lab.node().start()
    kept = ipam(node, faces, "ADD", container_id("kept")).ok()
    gone = ipam(node, faces, "ADD", container_id("gone")).ok()
    node.kill()
    ipam(node, faces, "DEL", container_id("gone")).ok()     # leaves a note
    node.start()
    wait_for("the note was followed", lambda: used(node) == 2)
    assert ipam(node, faces, "ADD", container_id("kept")).ok().ips() == kept.ips()
    assert not set(kept.ips()) & set(gone.ips())
    assert node.show("ipam", "check") == {"leaked": [], "duplicate": []}
    ipam(node, faces, "DEL", container_id("kept")).ok()
    assert used(node) == 0


def test_calico_ipam_gc_keeps_what_is_listed_and_other_networks(own_lab, faces):
    node = own_lab.node().start()
    mine = {name: ipam(node, faces, "ADD", container_id(name)).ok().ips() for name in ("listed", "lost")}
    ipam(node, faces, "ADD", container_id("elsewhere"), conf={"name": "lan.2"}).ok()
    pod = node.pod("attached")
    valid = {"cni.dev/valid-attachments": [{"containerID": container_id("listed"), "ifname": "net1"}]}
    ipam(node, faces, "GC", None, None, version="1.1.0", netns=None, conf=valid).ok()
    assert used(node) == 6
    ipam(node, faces, "CHECK", container_id("lost"), conf={"prevResult": {}}).refused(106)
    assert ipam(node, faces, "ADD", container_id("listed")).ok().ips() == mine["listed"]
    assert ping(node, pod.v4)


# --- further interfaces, as Multus attaches them --------------------------------------------------

def attach(pod, ifname, network, **kw):
    """As Multus delegates: its own network's configuration, the pod's names in CNI_ARGS."""
    return pod.start_add(ifname=ifname, conf={"name": network, **kw}).finish()


def detach(pod, ifname, network):
    return pod.node.cni("DEL", pod.container, pod.path, ifname=ifname, conf={"name": network}, **pod.identity())


def addresses(answer):
    return [ip.split("/")[0] for ip in answer.ok().ips()]


@pytest.mark.parametrize("network", ["k8s-pod-network", "another"])
def test_a_further_interface_works_beside_the_first(one, two, network):
    before = used(one)
    pod, near, far = one.pod("two-legs"), one.pod("near"), two.pod("far")
    routes = pod.routes(4), pod.routes(6)["default"]
    answer = attach(pod, "net1", network)
    v4, v6 = addresses(answer)
    assert attach(pod, "net1", network).ok().json == answer.json
    host, inside = answer.json["interfaces"]
    assert host["name"] != pod.host_if and one.links()[host["name"]] and inside["name"] == "net1"
    assert (pod.routes(4), pod.routes(6)["default"]) == routes, "the first interface's routes have changed"
    for address in (pod.v4, pod.v6, v4, v6):
        for source in (one, near, far):
            assert tcp(source, address, pod), (source, address)
    conf = {"name": network, "prevResult": answer.json}
    pod.start_check(ifname="net1", conf=conf).finish().ok()
    pod.check().ok()
    detach(pod, "net1", network).ok()
    wait_for("its link is gone", lambda: host["name"] not in one.links())
    assert tcp(near, pod.v4, pod) and "net1" not in pod.links()
    for p in (pod, near, far):
        p.delete().ok()
    wait_for("the addresses are given back", lambda: used(one) == before)


def test_further_interfaces_survive_a_restart_and_go_one_by_one(own_lab):
    node = own_lab.node().start()
    pod, peer = node.pod("three-legs"), node.pod("peer")
    answers = {name: attach(pod, name, "multi") for name in ("net1", "net2")}
    node.kill()
    node.start()
    for name, answer in answers.items():
        pod.start_check(ifname=name, conf={"name": "multi", "prevResult": answer.json}).finish().ok()
        assert tcp(peer, addresses(answer)[0], pod)
    detach(pod, "net1", "multi").ok()
    assert tcp(peer, addresses(answers["net2"])[0], pod) and tcp(peer, pod.v4, pod)
    pod.delete().ok()
    assert tcp(peer, addresses(answers["net2"])[1], pod)
    detach(pod, "net2", "multi").ok()
    wait_for("only the peer's link is left", lambda: set(node.host_links()) == {peer.host_if})
    wait_for("its addresses are given back", lambda: used(node) == 2)


def test_an_interface_beside_another_plugins_leaves_its_default_route(one):
    """eth0 is flannel's, say; Multus adds one of ours."""
    pod = one.new_pod("guest")
    pod.batch("link add eth0 type veth peer name bridge0", "link set bridge0 up", "addr add 10.244.1.7/24 dev eth0", "link set eth0 up",
              "route add 0.0.0.0/0 via 10.244.1.1")
    routes = pod.routes(4)
    v4, v6 = addresses(attach(pod, "net1", "manx-net"))
    assert pod.routes(4) == routes
    assert tcp(one, v4, pod) and tcp(one, v6, pod)
    detach(pod, "net1", "manx-net").ok()
    wait_for("its link is gone", lambda: "net1" not in pod.links())

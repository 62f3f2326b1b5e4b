"""The capability portMappings: ports of the node that lead to pods."""
import socket

import pytest

from lab import family_of, wait_for


@pytest.fixture(scope="module")
def nodes(lab):
    return [lab.node().start(), lab.node().start()]


@pytest.fixture(scope="module")
def one(nodes):
    return nodes[0]


@pytest.fixture(scope="module")
def two(nodes):
    return nodes[1]


def mapping(host, container, protocol="tcp", ip=None):
    return {"hostPort": host, "containerPort": container, "protocol": protocol, **({"hostIP": ip} if ip else {})}


def start(pod, *mappings):
    return pod.start_add(conf={"runtimeConfig": {"portMappings": list(mappings)}}).finish()


def add(node, name, *mappings):
    pod = node.new_pod(name)
    return pod.added(start(pod, *mappings))


def talk(source, address, port, server, target, kind=socket.SOCK_STREAM, timeout=1.0, bind=None):
    """A word from source to address and port, where server's target port hears it; the source that it saw, or None."""
    family = family_of(address)
    with server.socket(family, kind) as there, source.socket(family, kind) as here:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        there.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", target))
        if kind == socket.SOCK_STREAM:
            there.listen(1)
        if bind:
            here.bind((bind, 0))
        there.settimeout(timeout)
        here.settimeout(timeout)
        try:
            here.connect((address, port))
            here.sendall(b"ping")
            if kind == socket.SOCK_STREAM:
                peer, who = there.accept()
                with peer:
                    peer.settimeout(timeout)
                    peer.sendall(peer.recv(4))
                    return who[0] if here.recv(4) == b"ping" else None
            data, who = there.recvfrom(4)
            there.sendto(data, who)
            return who[0] if here.recv(4) == b"ping" else None
        except OSError:
            return None


# --- who reaches it -------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def web(one):
    return add(one, "web", mapping(8080, 80), mapping(5353, 53, "UDP"), mapping(9090, 90, "tcp", "192.0.2.11"),
               mapping(9091, 91, "tcp", "2001:db8::11"), mapping(9092, 92, "sctp"))


@pytest.fixture(scope="module")
def near(one):
    return one.pod("near")


@pytest.mark.parametrize("family", [4, 6])
def test_a_host_port_leads_to_the_pod_from_everywhere(lab, one, two, web, near, family):
    node, other = (one.v4, two.v4) if family == 4 else (one.v6, two.v6)
    pod, beside = (web.v4, near.v4) if family == 4 else (web.v6, near.v6)
    assert talk(two, node, 8080, web, 80) == other, "from outside, with its own source"
    assert talk(two, node, 5353, web, 53, socket.SOCK_DGRAM) == other
    assert talk(one, node, 8080, web, 80) == node, "from the node itself"
    assert talk(near, node, 8080, web, 80) == beside, "from a pod beside it"
    assert talk(web, node, 8080, web, 80) not in (None, pod), "from the pod itself, masqueraded"


def test_a_host_port_is_one_of_localhost_for_ipv4_only(one, web, near):
    assert talk(one, "127.0.0.1", 8080, web, 80) not in (None, "127.0.0.1")
    assert talk(one, "127.0.0.1", 5353, web, 53, socket.SOCK_DGRAM)
    assert one.sysctl_get("net/ipv4/conf/%s/route_localnet" % web.host_if) == "1"
    assert one.sysctl_get("net/ipv4/conf/%s/route_localnet" % near.host_if) == "0"
    assert talk(one, "::1", 8080, one, 8080) == "::1", "a program of the node on ::1 is left alone"


def test_a_pod_reaches_nothing_on_the_nodes_loopback(one):
    """Although its link takes such addresses, for the node's own connections."""
    pod = add(one, "curious", mapping(8081, 81))
    pod.batch("route del local 127.0.0.0/8 dev lo table local", "route add 127.0.0.2/32 via 169.254.1.1 dev eth0")
    pod.sysctl({"net/ipv4/conf/all/route_localnet": 1})

    def arrived():
        return one.ip("-s link show dev " + pod.host_if)[0]["stats64"]["rx"]["packets"]
    before = arrived()
    assert talk(pod, "127.0.0.2", 7000, one, 7000, socket.SOCK_DGRAM, timeout=0.3, bind=pod.v4) is None
    assert arrived() > before, "it was never sent"
    pod.delete().ok()


def test_a_host_address_limits_it(one, two, web):
    assert talk(two, one.v4, 9090, web, 90) and talk(two, one.v6, 9091, web, 91)
    assert not talk(two, one.v6, 9090, web, 90, timeout=0.3)
    assert not talk(one, "127.0.0.1", 9090, web, 90, timeout=0.3)


def test_other_nodes_ports_are_not_taken(one, two, near, web):
    """A pod connects to that port of another machine: it is that machine's."""
    assert talk(near, two.v4, 8080, two, 8080)


def test_nft_prints_it(one, web):
    text = one.run("nft", "list", "table", "inet", "manx").stdout
    assert "host-ports-4" in text and "any-ports-6" in text
    assert "dnat" in text and web.v4 in text


# --- its life -------------------------------------------------------------------------------------

def test_check_del_and_the_chains_go_with_the_last(own_lab):
    node, other = own_lab.node().start(), own_lab.node()
    plain = node.run("nft", "list", "table", "inet", "manx").stdout
    pod = add(node, "served", mapping(8080, 80))
    pod.check().ok()
    node.sysctl({"net/ipv4/conf/%s/route_localnet" % pod.host_if: 0})
    pod.check().refused(106, "route_localnet")
    pod.start_add(conf={"runtimeConfig": {"portMappings": [mapping(8080, 80)]}}).finish().ok()
    pod.check().ok()
    assert list((node.dir / "run" / "ports").iterdir())
    pod.delete().ok()
    assert not list((node.dir / "run" / "ports").iterdir())
    assert not talk(other, node.v4, 8080, pod, 80, timeout=0.3)
    assert node.run("nft", "list", "table", "inet", "manx").stdout == plain


@pytest.mark.parametrize("flushed", [False, True], ids=["table-stays", "table-goes"])
def test_a_killed_agent_loses_no_port(own_lab, flushed):
    node, other = own_lab.node().start(nft_owner="no"), own_lab.node()
    pod = add(node, "served", mapping(8080, 80))
    node.kill()
    assert talk(other, node.v4, 8080, pod, 80), "the kernel keeps it"
    if flushed:
        node.run("nft", "delete", "table", "inet", "manx")
    node.start()
    for address in (node.v4, node.v6):
        assert talk(other, address, 8080, pod, 80)
    pod.check().ok()
    second = node.new_pod("second")
    start(second, mapping(8080, 81)).refused(107, "8080/tcp", "default/served")
    pod.delete().ok()
    second.added(start(second, mapping(8080, 81)))
    assert talk(other, node.v4, 8080, second, 81)


def test_a_flushed_table_is_repaired(own_lab):
    node, other = own_lab.node().start(nft_owner="no"), own_lab.node()
    pod = add(node, "served", mapping(8080, 80))
    node.run("nft", "flush", "ruleset")
    wait_for("it leads there again", lambda: talk(other, node.v4, 8080, pod, 80, timeout=0.2))


def test_the_file_of_a_pod_that_died_meanwhile_goes(own_lab):
    node = own_lab.node().start()
    pod = add(node, "dies", mapping(8080, 80))
    node.kill()
    pod.remove()
    wait_for("its link is gone", lambda: not node.host_links())
    node.start()
    assert not list((node.dir / "run" / "ports").iterdir())
    assert add(node, "next", mapping(8080, 80))


# --- refusals -------------------------------------------------------------------------------------

@pytest.mark.parametrize("second", [mapping(7070, 1), mapping(7070, 1, ip="192.0.2.11"), mapping(7070, 1, ip="0.0.0.0")])
def test_two_pods_cannot_have_one_port(one, second):
    first = add(one, "first", mapping(7070, 70))
    pod = one.new_pod("late")
    start(pod, second).refused(107, "7070/tcp", "default/first")
    assert "eth0" not in pod.links()
    start(pod, mapping(7070, 1, "udp")).ok()
    for p in (pod, first):
        p.delete().ok()


def test_different_addresses_are_different_ports(one, two):
    first, second = add(one, "a", mapping(7071, 71, ip="192.0.2.11")), add(one, "b", mapping(7071, 72, ip="2001:db8::11"))
    assert talk(two, one.v4, 7071, first, 71) and talk(two, one.v6, 7071, second, 72)
    for p in (first, second):
        p.delete().ok()


def test_a_new_sandbox_takes_its_ports_over(one, two):
    old = add(one, "restarted", mapping(7072, 72))
    new = one.new_pod("restarted")
    new.added(start(new, mapping(7072, 72)))
    assert talk(two, one.v4, 7072, new, 72)
    old.delete().ok()
    assert talk(two, one.v4, 7072, new, 72)
    new.delete().ok()


def test_a_new_sandbox_that_is_refused_takes_nothing_over(one, two):
    """Rows come in no order: several, so that some earlier sandbox is met before the pod that refuses."""
    other = add(one, "stays", mapping(7080, 80))
    for i in range(4):
        old = add(one, "refused-%d" % i, mapping(7081, 81))
        new = one.new_pod("refused-%d" % i)
        start(new, mapping(7081, 82), mapping(7080, 83)).refused(107, "7080/tcp", "default/stays")
        assert talk(two, one.v4, 7081, old, 81)
        old.delete().ok()
        new.remove()
    other.delete().ok()


@pytest.mark.parametrize("bad", [
    {"hostPort": 70000, "containerPort": 80}, {"hostPort": 80}, {"hostPort": 80, "containerPort": 0},
    {"hostPort": 80, "containerPort": 80, "protocol": "icmp"}, {"hostPort": 80, "containerPort": 80, "hostIP": "here"}, 7])
def test_bad_mappings_are_code_7(one, bad):
    pod = one.new_pod("bad")
    start(pod, bad).refused(7, "portMappings")
    assert "eth0" not in pod.links()
    pod.remove()


def test_containerd_names_the_fields_as_go_does(one, two):
    """And so it sends what is empty."""
    pod = add(one, "go", {"HostPort": 7373, "ContainerPort": 73, "Protocol": "tcp", "HostIP": ""})
    assert talk(two, one.v4, 7373, pod, 73)
    pod.delete().ok()


def test_mappings_without_a_host_port_ask_for_nothing(one):
    pod = add(one, "nothing", mapping(0, 80))
    assert not [f for f in (one.dir / "run" / "ports").glob(pod.container + "@*")]
    pod.delete().ok()

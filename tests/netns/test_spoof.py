"""What a pod may send, and what may come out of a tunnel: packets made by hand, and a marker that must pass."""
import ipaddress
import itertools
import socket
import struct

import pytest

from lab import ping, wait_for
from packets import (HOST_MAC, ICMP, ICMPV6, IPIP, IPV6, UDP, Sniffer, ethernet, icmp, ip, packed, send, udp, vxlan)

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def nodes(lab):
    return lab.node().start(encapsulation="vxlan"), lab.node().start()


@pytest.fixture(scope="module")
def pods(nodes):
    one, two = nodes
    web, mate, db = one.pod("web-0"), one.pod("mate-0"), two.pod("db-0")
    for pod in (mate, db):
        for family in ("v4", "v6"):
            passes(web, pod, getattr(web, family), getattr(pod, family))
    return web, mate, db


def mark():
    return b"mark %06d." % next(numbers)


def marked(src, dst):
    word = mark()
    return word, ip(src, dst, UDP, udp(1234, 5678, word))


def passes(sender, receiver, src, dst):
    """Retried, since the first packets to another node may go before its routes are in."""
    def once():
        with Sniffer(receiver) as sniffer:
            word, packet = marked(src, dst)
            send(sender, packet)
            try:
                sniffer.until(word, 0.2)
            except AssertionError:
                return False
            return True
    wait_for("%s to %s passes" % (src, dst), once)


def dropped(sender, receiver, dst, own, *packets):
    """None of the packets (each carries its word) comes before the plain one that is sent last."""
    with Sniffer(receiver) as sniffer:
        for _, packet in packets:
            send(sender, packet)
        last, packet = marked(own, dst)
        send(sender, packet)
        came = sniffer.until(last)
    leaked = [word for word, _ in packets if any(word in data for data in came)]
    assert not leaked, leaked


FAMILIES = pytest.mark.parametrize("family", ["v4", "v6"])
STRANGE = {"v4": ["192.0.2.99", "10.42.255.254", "127.0.0.1", "0.0.0.0"],
           "v6": ["2001:db8::99", "fd00:10:42::ffff", "::1", "fe80::1", "::"]}


@FAMILIES
@pytest.mark.parametrize("near", [True, False], ids=["same-node", "other-node"])
def test_source_that_is_not_the_pods_own_is_dropped(pods, family, near):
    web, mate, db = pods
    target = mate if near else db
    to = getattr(target, family)
    sources = STRANGE[family] + [getattr(p, family) for p in (mate, db)] + [getattr(web.node, family)]
    dropped(web, target, to, getattr(web, family), *[marked(src, to) for src in sources if src != to])


def inside(word, src, dst):
    """A packet inside a packet: what an IPIP, 6in4, or VXLAN sender would send."""
    return ip(src, dst, UDP, udp(1, 2, word))


@FAMILIES
def test_packets_inside_packets_are_dropped(pods, family):
    web, mate, _ = pods
    src, to, packets = getattr(web, family), getattr(mate, family), []
    for proto, inner in ((IPIP, ("192.0.2.1", "192.0.2.2")), (IPV6, ("2001:db8::1", "2001:db8::2"))):
        word = mark()
        packets.append((word, ip(src, to, proto, inside(word, *inner))))
    word = mark()
    frame = ethernet(HOST_MAC, HOST_MAC, inside(word, "10.42.0.1", "10.42.0.2"))
    packets.append((word, ip(src, to, UDP, udp(4789, 4789, vxlan(frame)))))
    dropped(web, mate, to, src, *packets)


@FAMILIES
def test_servers_and_routers_talk_is_dropped(pods, family):
    web, mate, _ = pods
    src, to, packets = getattr(web, family), getattr(mate, family), []
    six = family == "v6"
    word = mark()
    packets.append((word, ip(src, to, UDP, udp(547 if six else 67, 546 if six else 68, word))))
    for kind in (134, 137) if six else (5, 9):
        word = mark()
        packets.append((word, ip(src, to, ICMPV6 if six else ICMP, icmp(kind, bytes(4) + word), hops=255)))
    dropped(web, mate, to, src, *packets)


def test_link_local_address_may_only_do_neighbour_discovery(pods):
    web, _, _ = pods
    allowed, refused = (133, 135, 136, 131, 143), (128, 130, 134, 137, 1)
    with Sniffer(web.node, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sniffer:
        words = {}
        for source in ("fe80::1234", "::"):
            for kind in refused + allowed:
                words[source, kind] = mark()
                send(web, ip(source, "ff02::1", ICMPV6, icmp(kind, bytes(20) + words[source, kind]), hops=255),
                     mac=bytes.fromhex("333300000001"))
        came = sniffer.until(words["::", allowed[-1]])
    for (source, kind), word in words.items():
        assert any(word in data for data in came) == (kind in allowed), (source, kind)


def test_router_advertisement_of_a_pod_gives_the_host_no_route(pods):
    web, _, _ = pods
    node = web.node
    node.sysctl({"net/ipv6/conf/%s/accept_ra" % web.host_if: 2})
    advert = struct.pack("!BBHII", 64, 0, 1800, 0, 0)
    for source in ("fe80::1234", web.v6):
        send(web, ip(source, "ff02::1", ICMPV6, icmp(134, advert), hops=255), mac=bytes.fromhex("333300000001"))
    passes(web, pods[1], web.v6, pods[1].v6)
    assert [r["dev"] for r in node.ip("-6 route show default")] == ["eth0"]


def test_pod_does_not_reach_the_hosts_loopback(pods):
    """Though route_localnet, which kube-proxy turns on, lets 127/8 in."""
    web, _, _ = pods
    node = web.node
    node.sysctl({"net/ipv4/conf/all/route_localnet": 1})
    for family, text, loop, own in ((socket.AF_INET, "v4", "127.0.0.1", node.v4), (socket.AF_INET6, "v6", "::1", node.v6)):
        src = getattr(web, text)
        with node.socket(family, socket.SOCK_DGRAM) as door:
            door.bind(("", 5678))
            door.settimeout(2)
            send(web, marked(src, loop)[1])
            word, packet = marked(src, own)
            send(web, packet)
            assert door.recv(100) == word


def test_link_that_no_pod_has_is_mute(pods):
    """A dead one that waits for its end, or one that is not in the rules yet."""
    web, mate, _ = pods
    node = web.node
    node.batch("link add calidead0000000 address ee:ee:ee:ee:ee:ee type veth peer name ghost", "link set calidead0000000 up",
               "link set ghost up")
    try:
        with Sniffer(mate) as sniffer:
            words = []
            for src, to in ((web.v4, mate.v4), (web.v6, mate.v6), ("192.0.2.99", mate.v4)):
                word, packet = marked(src, to)
                words.append(word)
                send(node, packet, device="ghost")
            last, packet = marked(web.v4, mate.v4)
            send(web, packet)
            came = sniffer.until(last)
        assert not any(word in data for data in came for word in words)
    finally:
        node.batch("link del ghost")


def test_deleted_pods_address_is_no_longer_allowed(pods):
    node = pods[0].node
    pod = node.pod("gone")
    assert pod.v4 in node.run("nft", "list", "set", "inet", "manx", "pods-4").stdout
    pod.delete().ok()
    for family, text in (("4", pod.v4), ("6", pod.v6)):
        assert text not in node.run("nft", "list", "set", "inet", "manx", "pods-" + family).stdout
    pod.remove()


# ---- tunnels ----

@pytest.fixture(scope="module")
def stranger(lab, nodes):
    """A machine on the nodes' network that is no node."""
    space = lab.namespace("stranger")
    lab.fabric.batch("link add p9 type veth peer name eth0 netns %s" % space.path, "link set p9 master br0 up")
    space.batch("addr add 192.0.2.99/24 dev eth0", "addr add 2001:db8::99/64 dev eth0 nodad", "link set eth0 up",
                "route add 10.42.0.0/16 via 192.0.2.11", "route add fd00:10:42::/48 via 2001:db8::11")
    for node, address in itertools.product(nodes, ("192.0.2.99", "2001:db8::99")):
        wait_for("the bridge's new port forwards", lambda: ping(node, address))
    return space


def tunnelled(sender, node, family, src, dst):
    """Sends a packet from src to dst through the node's tunnel; the word in it."""
    device = "vxlan.calico" if family == "v4" else "vxlan-v6.calico"
    word, packet = marked(src, dst)
    mac = bytes.fromhex(node.links()[device]["address"].replace(":", ""))
    with sender.socket(socket.AF_INET if family == "v4" else socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.sendto(vxlan(ethernet(mac, HOST_MAC, packet)), (getattr(node, family), 4789))
    return word


@FAMILIES
def test_tunnel_takes_packets_from_nodes_only(nodes, pods, stranger, family):
    one, two = nodes
    web, _, db = pods
    src, dst = getattr(db, family), getattr(web, family)
    with Sniffer(web) as sniffer:
        forged = tunnelled(stranger, one, family, src, dst)
        came = sniffer.until(tunnelled(two, one, family, src, dst))
    assert not any(forged in data for data in came)


def neighbours_address(text):
    """Another address of the same block."""
    number = int(ipaddress.ip_address(text))
    return str(ipaddress.ip_address(number ^ 0x20 if packed(text)[-1] & 0x20 == 0 else number ^ 0x10))


@FAMILIES
def test_local_pods_source_does_not_come_out_of_a_tunnel(nodes, pods, family):
    one, two = nodes
    web, mate, db = pods
    dst = getattr(web, family)
    with Sniffer(web) as sniffer:
        forged = [tunnelled(two, one, family, src, dst)
                  for src in (getattr(mate, family), neighbours_address(getattr(mate, family)))]
        came = sniffer.until(tunnelled(two, one, family, getattr(db, family), dst))
    assert not any(word in data for data in came for word in forged)

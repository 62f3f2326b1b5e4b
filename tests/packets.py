"""Packets made by hand, sent past the sender's own IP stack, and a sniffer that waits for one."""
import ipaddress
import select
import socket
import struct
import time

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 3, 0x0800, 0x86dd
ICMP, IPIP, UDP, IPV6, ICMPV6 = 1, 4, 17, 41, 58
HOST_MAC = bytes.fromhex("eeeeeeeeeeee")     # of every pod's host end


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packed(address):
    return ipaddress.ip_address(address).packed


def ip(src, dst, proto, payload, hops=64):
    """A packet of the family of its addresses, the checksum of UDP and ICMPv6 filled in."""
    s, d = packed(src), packed(dst)
    at = {UDP: 6, ICMPV6: 2, ICMP: 2}.get(proto)
    if at is not None:
        pseudo = b"" if proto == ICMP else s + d + struct.pack("!II", len(payload), proto)
        payload = payload[:at] + struct.pack("!H", checksum(pseudo + payload) or 0xffff) + payload[at + 2:]
    if len(s) == 16:
        return struct.pack("!IHBB", 6 << 28, len(payload), proto, hops) + s + d + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, hops, proto, 0) + s + d
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp(sport, dport, data):
    return struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data


def icmp(kind, data):
    return struct.pack("!BBH", kind, 0, 0) + data


def ethernet(dst, src, packet):
    return dst + src + struct.pack("!H", ETH_P_IPV6 if packet[0] >> 4 == 6 else ETH_P_IP) + packet


def vxlan(frame, vni=4096):
    return struct.pack("!II", 0x08 << 24, vni << 8) + frame


def send(space, packet, device="eth0", mac=HOST_MAC):
    """Out of a device, whatever the stack thinks of it."""
    proto = ETH_P_IPV6 if packet[0] >> 4 == 6 else ETH_P_IP
    with space.entered():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    with s:
        s.sendto(packet, (device, proto, 0, 0, mac))


class Sniffer:
    """What arrives at a socket; seen(mark) waits for a packet with those bytes in it, and returns all that came."""

    def __init__(self, space, family=socket.AF_PACKET, kind=socket.SOCK_DGRAM, proto=None):
        with space.entered():
            self.socket = socket.socket(family, kind, socket.htons(ETH_P_ALL) if proto is None else proto)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def until(self, mark, timeout=2.0):
        end, came = time.monotonic() + timeout, []
        while time.monotonic() < end:
            if select.select([self.socket], [], [], end - time.monotonic())[0]:
                data, sender = self.socket.recvfrom(4096)
                if len(sender) > 2 and sender[2] == socket.PACKET_OUTGOING:
                    continue
                came.append(data)
                if mark in data:
                    return came
        raise AssertionError("no packet with %r came, only %r" % (mark, came))

"""Who reaches whom, for all pairs, protocols and ports at once.

Every pod serves TCP, UDP and SCTP on 80 and 81 and answers echo requests.  A round sends one packet of each kind from
each pod to each; what is answered got through.  All sockets are this process's, opened inside the pods'
namespaces; each round has a source port of its own, which says of a late packet from which round it is, so that what
came after its round was judged fails the next one.  SCTP is spoken by hand (INIT, INIT ACK), since many kernels
have no such sockets.
"""
import contextlib
import select
import socket
import struct
import time

PORTS = (80, 81)
ICMP, ICMPV6, SCTP = 1, 58, 132
FIRST_PORT, LAST_PORT = 20000, 60000
QUIET_S, LIMIT_S = 0.02, 3.0
LINGER_NOT = struct.pack("ii", 1, 0)


def crc32c_table():
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
        yield n


CRC32C = list(crc32c_table())


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 0xff] ^ crc >> 8
    return crc ^ 0xffffffff


def sctp_packet(sport, dport, tag, chunk):
    """chunk: 1 INIT, 2 INIT ACK, each without options but the cookie that an INIT ACK must have."""
    cookie = struct.pack("!HH4s", 7, 8, b"manx") if chunk == 2 else b""
    body = struct.pack("!BBHIIHHI", chunk, 0, 20 + len(cookie), 0x6d616e78, 65535, 1, 1, 1) + cookie
    head = struct.pack("!HHI", sport, dport, tag)
    return head + struct.pack("<I", crc32c(head + bytes(4) + body)) + body


def inet_checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def echo_request(six, number):
    kind = 128 if six else 8
    packet = struct.pack("!BBHHH", kind, 0, 0, number, 0)
    return packet[:2] + struct.pack("!H", inet_checksum(packet)) + packet[4:]   # of IPv6 the kernel sums anew


class Ends:
    """The sockets of one pod."""

    def __init__(self, pod, six):
        self.address, self.six = pod.v6 if six else pod.v4, six
        self.family = socket.AF_INET6 if six else socket.AF_INET
        self.pod = pod
        with pod.entered():
            self.tcp = [self.bound(socket.SOCK_STREAM, port) for port in PORTS]
            self.udp = [self.bound(socket.SOCK_DGRAM, port) for port in PORTS]
            self.sctp = self.opened(socket.SOCK_RAW, SCTP)
            self.icmp = self.opened(socket.SOCK_RAW, ICMPV6 if six else ICMP)
        for door in self.tcp:
            door.listen(1024)
        self.callers = []

    def opened(self, kind, protocol=0):
        s = socket.socket(self.family, kind | socket.SOCK_NONBLOCK, protocol)
        if kind != socket.SOCK_RAW:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return s

    def bound(self, kind, port):
        s = self.opened(kind)
        s.bind((self.address, port))
        return s

    def call(self, number, others):
        """Sends one of each to everybody; (TCP socket, key, address) of the connections begun."""
        begun = []
        with self.pod.entered():
            self.caller = self.bound(socket.SOCK_DGRAM, number)
            for other in others:
                for port in PORTS:
                    s = self.bound(socket.SOCK_STREAM, number)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
                    s.connect_ex((other.address, port))
                    begun.append((s, "TCP/%d" % port, other.address))
        for other in others:
            for port in PORTS:
                self.send(self.caller, b"ask", other.address, port)
                self.send(self.sctp, sctp_packet(number, port, 0, 1), other.address)
            self.send(self.icmp, echo_request(self.six, number), other.address)
        return begun

    @staticmethod
    def send(s, data, address, port=0):
        with contextlib.suppress(OSError):      # a rejected packet may be told of here
            s.sendto(data, (address, port))

    def close(self):
        for s in [*self.tcp, *self.udp, self.sctp, self.icmp]:
            s.close()


class Late(AssertionError):
    """Something of an earlier round got through after all."""


class Prober:
    """Rounds of one family among pods: {"x/a": lab.Pod}."""

    def __init__(self, six):
        self.six, self.number = six, FIRST_PORT
        self.ends, self.late = {}, []

    def close(self):
        for ends in self.ends.values():
            ends.close()
        self.ends = {}

    def pods(self, pods):
        """From now on these."""
        for key in [k for k, ends in self.ends.items() if pods.get(k) is not ends.pod]:
            self.ends.pop(key).close()
        for key, pod in pods.items():
            if key not in self.ends:
                self.ends[key] = Ends(pod, self.six)
        self.by_address = {ends.address: key for key, ends in self.ends.items()}

    def round(self, order, expected):
        """{"TCP/80": rows} as it is; expected, in the same form, tells only how long to wait for what."""
        self.number = self.number + 1 if self.number < LAST_PORT else FIRST_PORT
        self.reached = {key: set() for key in expected}
        hoped = {(key, a, b) for key, rows in expected.items()
                 for a, row in zip(order, rows) for b, hope in zip(order, row) if hope == "."}
        with contextlib.ExitStack() as stack:
            self.poll = select.epoll()
            stack.callback(self.poll.close)
            self.handlers = {}
            self.begin(order, stack)
            self.listen(hoped)
        if self.late:
            raise Late("came late, or from another port: %s" % self.late)
        return {key: ["".join(".X"[(a, b) not in pairs] for b in order) for a in order]
                for key, pairs in self.reached.items()}

    def watch(self, s, handler, events=select.EPOLLIN):
        self.handlers[s.fileno()] = handler
        self.poll.register(s.fileno(), events)

    def begin(self, order, stack):
        ends = [(key, self.ends[key]) for key in order]
        for key, end in ends:
            for door, port in zip(end.tcp, PORTS):
                self.watch(door, lambda door=door: self.on_caller(door, stack))
            for door, port in zip(end.udp, PORTS):
                self.watch(door, lambda door=door: self.on_question(door))
            self.watch(end.sctp, lambda key=key, end=end: self.on_sctp(key, end))
            self.watch(end.icmp, lambda key=key, end=end: self.on_icmp(key, end))
        for key, end in ends:
            for s, what, address in end.call(self.number, [other for _, other in ends]):
                stack.callback(s.close)
                self.watch(s, lambda s=s, key=key, what=what, to=address: self.on_connected(s, what, key, to),
                           select.EPOLLOUT | select.EPOLLONESHOT)
            stack.callback(end.caller.close)
            self.watch(end.caller, lambda key=key, end=end: self.on_answer(key, end.caller))

    def listen(self, hoped):
        """Until all that is hoped for has come, and then it was quiet for a while."""
        end = time.monotonic() + LIMIT_S
        while True:
            missing = any((a, b) not in self.reached[key] for key, a, b in hoped)
            wait = QUIET_S if not missing else end - time.monotonic()
            ready = self.poll.poll(max(0, wait), 1024)
            for fd, _ in ready:
                self.handlers[fd]()
            if not ready and (not missing or time.monotonic() >= end):
                return

    # ---- what comes

    def reach(self, what, source, address):
        """The pod source got an answer from that address."""
        if what in self.reached:
            self.reached[what].add((source, self.by_address[address]))

    def current(self, port, *what):
        if port != self.number:
            self.late.append((port, self.number, *what))
        return port == self.number

    def on_caller(self, door, stack):
        with contextlib.suppress(BlockingIOError, ConnectionError):
            s, peer = door.accept()
            stack.callback(s.close)
            self.current(peer[1], "TCP", peer[0], door.getsockname()[:2])

    def on_connected(self, s, what, source, address):
        if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            self.reach(what, source, address)

    def on_question(self, door):
        with contextlib.suppress(BlockingIOError):
            data, peer = door.recvfrom(64)
            if self.current(peer[1], "UDP", peer[0], door.getsockname()[:2]):
                Ends.send(door, data, peer[0], peer[1])

    def on_answer(self, source, caller):
        with contextlib.suppress(BlockingIOError, ConnectionError):
            _, peer = caller.recvfrom(64)
            self.reach("UDP/%d" % peer[1], source, peer[0])

    def datagram(self, s):
        """Payload and sender of a raw socket's packet; of IPv4 they come with their header."""
        data, peer = s.recvfrom(2048)
        return data if self.six else data[(data[0] & 15) * 4:], peer[0]

    def on_sctp(self, key, end):
        with contextlib.suppress(BlockingIOError):
            data, peer = self.datagram(end.sctp)
            sport, dport, tag = struct.unpack_from("!HHI", data)
            (initiate,) = struct.unpack_from("!I", data, 16)
            if data[12] == 1 and self.current(sport, "SCTP", peer, end.address, dport):
                Ends.send(end.sctp, sctp_packet(dport, sport, initiate, 2), peer)
            elif data[12] == 2 and dport == self.number:
                self.reach("SCTP/%d" % sport, key, peer)

    def on_icmp(self, key, end):
        with contextlib.suppress(BlockingIOError):
            data, peer = self.datagram(end.icmp)
            if data[0] == (129 if self.six else 0) and struct.unpack_from("!H", data, 4)[0] == self.number:
                self.reach("ICMP/8", key, peer)

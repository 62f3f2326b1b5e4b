"""Numbered packets from one namespace to another at a steady pace, and which of them came.

    with Stream.udp(web, db, rate=5000) as allowed, Stream.ping(web, db, rate=1000) as echo:
        ...
    assert allowed.lost == echo.lost == 0

A process for each stream sends and receives, so that the test that waits for something holds no packet up.
"""
import select
import socket
import struct
import subprocess
import sys
import time

from spaces import die_with_parent
from traffic import family_of

ROOM, QUIET_S, BURST = 32 << 20, 0.3, 50
ECHO = {socket.AF_INET: (socket.IPPROTO_ICMP, 8), socket.AF_INET6: (socket.IPPROTO_ICMPV6, 128)}


class Stream:
    """sent, got: when it has ended; lost: the numbers of those that did not come."""

    def __init__(self, out, back, head, rate):
        self.sent = self.got = self.lost = self.seconds = None
        with out, back:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(out.fileno()), str(back.fileno()), head.hex(), str(rate)], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds={out.fileno(), back.fileno()},
                preexec_fn=die_with_parent)
        self.process.stdout.readline()          # it begins
        self.begun = time.monotonic()

    @classmethod
    def udp(cls, source, server, family="v4", port=7001, rate=5000):
        """To a port of the server that answers nothing: each packet is a new flow's to the rules."""
        address = getattr(server, family)
        back = server.socket(family_of(address), socket.SOCK_DGRAM)
        back.bind((address, port))
        out = source.socket(family_of(address), socket.SOCK_DGRAM)
        out.connect((address, port))
        return cls(out, back, b"", rate)

    @classmethod
    def ping(cls, source, server, family="v4", rate=1000):
        """Echo requests, and their answers."""
        address = getattr(server, family)
        proto, kind = ECHO[family_of(address)]
        source.sysctl({"net/ipv4/ping_group_range": "0 0"})
        with source.entered():
            out = socket.socket(family_of(address), socket.SOCK_DGRAM, proto)
        out.connect((address, 0))
        return cls(out, out, struct.pack("!BBHHH", kind, 0, 0, 0, 0), rate)

    def end(self):
        """Waits for the last ones."""
        if self.sent is None:
            self.seconds = time.monotonic() - self.begun
            out, _ = self.process.communicate("", timeout=30)
            self.sent, self.got, *self.lost = map(int, out.split())
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def drain(back, skip, seen):
    while True:
        try:
            number, = struct.unpack("!Q", back.recv(64)[skip:skip + 8])
            seen.add(number)
        except BlockingIOError:
            return
        except OSError:
            continue


def flow(out, back, head, rate):
    """Until standard input ends; then prints what was sent, what came, and the numbers of what did not."""
    seen, sent, begun = set(), 0, time.monotonic()
    for s in (out, back):
        s.setblocking(False)
    back.setsockopt(socket.SOL_SOCKET, 33, ROOM)            # SO_RCVBUFFORCE
    print(flush=True)
    while not select.select([sys.stdin], [], [], 0.001)[0]:
        due = int((time.monotonic() - begun) * rate) - sent
        if due > BURST:                                     # held up: no flood makes up for it
            begun += (due - BURST) / rate
        for _ in range(min(due, BURST)):
            try:
                out.send(head + struct.pack("!Q", sent))
            except OSError:
                pass                                        # as good as lost
            sent += 1
        drain(back, len(head), seen)
    end = time.monotonic() + QUIET_S
    while time.monotonic() < end:
        select.select([back], [], [], QUIET_S)
        drain(back, len(head), seen)
    print(sent, len(seen), *[n for n in range(sent) if n not in seen][:20])


if __name__ == "__main__":
    flow(socket.socket(fileno=int(sys.argv[1])), socket.socket(fileno=int(sys.argv[2])), bytes.fromhex(sys.argv[3]),
         int(sys.argv[4]))

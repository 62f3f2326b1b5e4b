"""Does a packet get from here to there?"""
import select
import socket
import time


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def ping(source, address, wait=1, count=1, size=None):
    """One echo request (or count), answered within wait seconds?"""
    more = [] if size is None else ["-M", "do", "-s", str(size)]
    return source.run("ping", "-n", "-q", "-c", str(count), "-i", "0.01", "-W", str(wait), *more, address,
                      check=False, timeout=wait * count + 10).returncode == 0


def tcp(source, address, server, timeout=1.0):
    """A connection from source to address, where server listens; a word each way."""
    with server.socket(family_of(address), socket.SOCK_STREAM) as door, \
            source.socket(family_of(address), socket.SOCK_STREAM) as here:
        door.bind((address, 0))
        door.listen(1)
        door.settimeout(timeout)
        here.settimeout(timeout)
        try:
            here.connect(door.getsockname())
            there, _ = door.accept()
            with there:
                there.settimeout(timeout)
                here.sendall(b"ping")
                if there.recv(4) != b"ping":
                    return False
                there.sendall(b"pong")
                return here.recv(4) == b"pong"
        except OSError:
            return False


def udp(source, address, server, timeout=1.0, size=4):
    """One datagram there, one back to where it came from; the source address that the server saw, or None."""
    with server.socket(family_of(address), socket.SOCK_DGRAM) as there, \
            source.socket(family_of(address), socket.SOCK_DGRAM) as here:
        there.bind((address, 0))
        there.settimeout(timeout)
        here.settimeout(timeout)
        try:
            here.connect(there.getsockname())
            here.send(b"p" * size)
            data, peer = there.recvfrom(size)
            there.sendto(data, peer)
            return peer[0] if here.recv(size) == data else None
        except OSError:
            return None


def matrix(pods, family, timeout=1.0):
    """{(from, to): bool}: who opens a TCP connection to whom; all at once, so a wall costs one timeout."""
    kind, text = (socket.AF_INET, "v4") if family == 4 else (socket.AF_INET6, "v6")
    doors, waiting, answer = {}, {}, {}
    poll = select.poll()
    try:
        for pod in pods:
            doors[pod] = pod.socket(kind, socket.SOCK_STREAM)
            doors[pod].bind((getattr(pod, text), 0))
            doors[pod].listen(len(pods))
        for a in pods:
            for b in pods:
                s = a.socket(kind, socket.SOCK_STREAM)
                s.setblocking(False)
                s.connect_ex(doors[b].getsockname())
                waiting[s.fileno()] = (s, (a, b))
                answer[a, b] = False
                poll.register(s, select.POLLOUT)
        end = time.monotonic() + timeout
        while waiting and time.monotonic() < end:
            for fd, _ in poll.poll(max(0, (end - time.monotonic()) * 1000)):
                s, pair = waiting.pop(fd)
                answer[pair] = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                poll.unregister(fd)
                s.close()
    finally:
        for s, _ in waiting.values():
            s.close()
        for s in doors.values():
            s.close()
    return answer

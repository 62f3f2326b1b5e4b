"""Network namespaces that are files, programs inside them, and waiting for what becomes true."""
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import time

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWNET, MNT_DETACH = 0x00020000, 0x40000000, 2
MS_REC, MS_PRIVATE, PR_SET_PDEATHSIG = 1 << 14, 1 << 18, 1
isolated = False


def syscall(what, rc):
    if rc != 0:
        code = ctypes.get_errno()
        raise OSError(code, "%s: %s" % (what, os.strerror(code)))


def isolate():
    """A mount namespace of our own: whatever happens to this process, no mount of a lab outlives it."""
    global isolated
    if not isolated:
        syscall("unshare", libc.unshare(CLONE_NEWNS))
        syscall("mount", libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
        isolated = True


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(argv, check=True, timeout=30, **kw):
    """subprocess.run with text, captured output, a time limit, and an error that shows what was said."""
    kw.setdefault("stdin", subprocess.DEVNULL if "input" not in kw else None)
    if kw["stdin"] is None:
        del kw["stdin"]
    p = subprocess.run(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **kw)
    if check and p.returncode != 0:
        raise AssertionError("%s: exit %d\n%s%s" % (" ".join(argv), p.returncode, p.stdout, p.stderr))
    return p


def wait_for(what, probe, timeout=5.0, step=0.01):
    """Asks probe() until its answer is true, and returns it; fails after timeout seconds."""
    end = time.monotonic() + timeout
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError("after %.1f s still not: %s" % (timeout, what))
        time.sleep(step)


class Namespace:
    """A network namespace, held by a bind mount on a file."""

    def __init__(self, path):
        self.path = str(path)
        run(["unshare", "--net=" + self.created(), "ip", "link", "set", "lo", "up"])
        self.sysctl({"net/ipv6/conf/default/accept_dad": 0, "net/ipv6/conf/all/accept_dad": 0})

    def created(self):
        open(self.path, "w").close()
        return self.path

    def remove(self):
        if os.path.exists(self.path):
            libc.umount2(self.path.encode(), MNT_DETACH)
            os.unlink(self.path)

    def inode(self):
        return os.stat(self.path).st_ino

    @contextlib.contextmanager
    def entered(self):
        """This thread is inside; sockets made and /proc/sys/net files opened meanwhile are the namespace's."""
        home, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(self.path, os.O_RDONLY)
        try:
            syscall("setns", libc.setns(there, CLONE_NEWNET))
            try:
                yield
            finally:
                syscall("setns", libc.setns(home, CLONE_NEWNET))
        finally:
            os.close(home)
            os.close(there)

    def argv(self, *argv):
        return ["nsenter", "--net=" + self.path, *argv]

    def run(self, *argv, **kw):
        return run(self.argv(*argv), **kw)

    def ip(self, *args, **kw):
        """`ip -j ARGS`, parsed."""
        out = self.run("ip", "-j", *" ".join(args).split(), **kw).stdout
        return [row for row in json.loads(out or "[]") if row]

    def batch(self, *lines):
        """Commands for `ip -batch`, one a line."""
        self.run("ip", "-batch", "-", input="\n".join(lines) + "\n")

    def sysctl(self, settings):
        with self.entered():
            for key, value in settings.items():
                with open("/proc/sys/" + key, "w") as f:
                    f.write(str(value))

    def sysctl_get(self, key):
        with self.entered(), open("/proc/sys/" + key) as f:
            return f.read().strip()

    def socket(self, family, kind):
        with self.entered():
            return socket.socket(family, kind)

    def links(self):
        return {row["ifname"]: row for row in self.ip("-d link")}

    def routes(self, family=4, protocol=None):
        """Routes of the main table by destination; protocol: only that rtm_protocol."""
        rows = self.ip("-%d -N -d route show table main" % family)
        return {row["dst"]: row for row in rows if protocol is None or str(row.get("protocol")) == str(protocol)}

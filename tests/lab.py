"""A lab on one machine: a switch, nodes and pods as network namespaces, the real agent in each node.

    with Lab() as lab:
        one, two = lab.node(), lab.node()
        one.start(), two.start()
        web, db = one.pod("web-0"), two.pod("db-0")
        assert tcp(web, db.v4, server=db)

Every namespace is a file in the lab's own folder, so nothing has a name that could collide, and
nothing of the host changes.  After isolate() the mounts live in a mount namespace of this process:
they end with it, however it ends; so do the agents (PR_SET_PDEATHSIG).  Python 3.9, standard library,
iproute2, util-linux, iputils-ping.
"""
import contextlib
import hashlib
import ipaddress
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import tracing
from calls import Call, container_id
from spaces import (Namespace, die_with_parent, isolate, libc, run,  # noqa: F401: what tests take from here
                    wait_for)
from traffic import family_of, matrix, ping, tcp, udp  # noqa: F401

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = os.environ.get("MANX", str(ROOT / "build" / "manx"))
POOLS = ["10.42.0.0/16", "fd00:10:42::/48"]
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
KERNEL_NAMES = ("cali", "vxlan.calico", "vxlan-v6.calico")      # tunl0 comes everywhere with its module


def built(target):
    """The path of what the Makefile builds under that name, up to date."""
    env = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL")}
    run(["make", "-C", str(ROOT), target], timeout=300, env=env)
    return ROOT / target


class Pod(Namespace):
    """A pod's namespace on a node; add() and delete() go through the real CNI face."""

    def __init__(self, node, name, namespace="default", uid="", container=None):
        self.node, self.name, self.namespace, self.uid = node, name, namespace, uid
        self.container = container or container_id("%s/%s/%d" % (namespace, name, node.lab.count()))
        self.v4 = self.v6 = None
        self.result = None
        super().__init__(node.lab.dir / ("pod-%d" % node.lab.count()))

    def identity(self, **kw):
        return {"namespace": self.namespace, "pod": self.name, "uid": self.uid, **kw}

    def start_add(self, **kw):
        return self.node.cni_start("ADD", self.container, self.path, **self.identity(**kw))

    def add(self, **kw):
        return self.added(self.start_add(**kw).finish())

    def added(self, answer):
        self.result = answer.ok()
        for text in answer.ips():
            if ":" in text:
                self.v6 = text.split("/")[0]
            else:
                self.v4 = text.split("/")[0]
        return self

    def start_delete(self, **kw):
        return self.node.cni_start("DEL", self.container, self.path, **self.identity(**kw))

    def delete(self, **kw):
        return self.start_delete(**kw).finish()

    def start_check(self, conf=None, netns=None, **kw):
        """CHECK with what ADD gave as prevResult."""
        conf = {"prevResult": self.result.json, "cniVersion": self.result.json["cniVersion"], **(conf or {})}
        return self.node.cni_start("CHECK", self.container, netns or self.path, conf=conf, **self.identity(**kw))

    def check(self, **kw):
        return self.start_check(**kw).finish()

    @property
    def host_if(self):
        return host_if(self.namespace, self.name)

    def remove(self):
        super().remove()
        if self in self.node.pods:
            self.node.pods.remove(self)


def host_if(namespace, pod):
    return "cali" + hashlib.sha1(("%s.%s" % (namespace, pod)).encode()).hexdigest()[:11]


class Node(Namespace):
    """A node: a namespace with an uplink eth0, a folder for its agent, the agent."""

    def __init__(self, lab, name, subnet):
        self.lab, self.name, self.subnet = lab, name, subnet
        self.dir = lab.dir / name
        self.dir.mkdir()
        super().__init__(self.dir / "net")
        self.pods, self.process, self.config, self.args, self.exits = [], None, {}, [], []
        self.number = len(lab.nodes) + 1
        self.v4, self.v6 = lab.plug(self)
        self.store = lab.dir / "store"
        for key in ("run", "state", "net.d", "bin"):
            (self.dir / key).mkdir()

    @property
    def socket_path(self):
        return str(self.dir / "run" / "manx.sock")

    @property
    def log_path(self):
        return self.dir / "agent.log"

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def defaults(self):
        return {"node_name": self.name, "datastore": "file %s" % self.store, "run_dir": self.dir / "run",
                "state_dir": self.dir / "state", "cni_conf_dir": self.dir / "net.d", "cni_bin_dir": self.dir / "bin",
                "pool": POOLS, "ipam_reserve": 0}

    def write_config(self, **config):
        """manx.conf of the lab's defaults, what was given before, and this; None leaves a key out."""
        self.config.update(config)
        lines = []
        for key, value in {**self.defaults(), **self.config}.items():
            if value is not None:
                lines += ["%s = %s" % (key, v) for v in (value if isinstance(value, list) else [value])]
        path = self.dir / "manx.conf"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    def start(self, wait=True, args=(), env=None, timeout=15, pass_fds=(), wrap=(), **config):
        """wrap: a program that starts the agent and becomes it, as `strace -D` does."""
        assert self.process is None or self.process.poll() is not None, "%s runs already" % self.name
        argv = self.argv(*wrap, BINARY, "agent", "--config", self.write_config(**config), *args)
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={"PATH": PATH, **(env or {})}, pass_fds=pass_fds,
                                            preexec_fn=None if self.lab.keep else die_with_parent,
                                            start_new_session=self.lab.keep)
        if wait:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=15):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError("agent of %s ended with %d\n%s" % (self.name, self.process.returncode, self.log()))
            status = self.manx("status", "-o", "json", check=False)
            return status.returncode == 0 and json.loads(status.stdout)["ready"]
        wait_for("%s is ready" % self.name, ready, timeout)

    def end(self, signo=signal.SIGTERM, timeout=10):
        """Ends the agent by its pid; returns its exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signo)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("agent of %s did not end within %d s\n%s" % (self.name, timeout, self.log()))
        self.process = None
        return code

    stop = end

    def kill(self):
        return self.end(signal.SIGKILL)

    def restart(self, signo=signal.SIGTERM, **config):
        self.end(signo)
        return self.start(**config)

    @contextlib.contextmanager
    def traced(self, *options):
        """The agent under strace meanwhile."""
        with tracing.traced(self.process.pid, *options):
            yield
        self.process.poll()

    def manx(self, *args, **kw):
        """The binary as a command, pointed at this node's socket (in the node's namespace only if need be)."""
        return run([BINARY, *args, "--socket", self.socket_path], env={"PATH": PATH}, **kw)

    def show(self, *args):
        return json.loads(self.manx(*args, "-o", "json").stdout)

    def conf(self, **changes):
        conf = {"cniVersion": "1.0.0", "name": "k8s-pod-network", "type": "manx", "socket": self.socket_path}
        conf.update(changes)
        return json.dumps({k: v for k, v in conf.items() if v is not None})

    def cni_start(self, command, container, netns, ifname="eth0", namespace=None, pod=None, uid=None, conf=None,
                  env=None, stdin=None, binary=None, wrap=()):
        """Starts a CNI call: conf changes the network configuration, env the environment (None: unset), wrap goes before it."""
        ids = {"IgnoreUnknown": "1", "K8S_POD_NAMESPACE": namespace, "K8S_POD_NAME": pod,
               "K8S_POD_INFRA_CONTAINER_ID": container, "K8S_POD_UID": uid}
        args = ";".join("%s=%s" % (k, v) for k, v in ids.items() if v) if pod else None
        full = {"PATH": PATH, "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": netns,
                "CNI_IFNAME": ifname, "CNI_PATH": str(self.dir / "bin"), "CNI_ARGS": args, **(env or {})}
        text = self.conf(**(conf or {})) if stdin is None else stdin
        return Call(self.argv(*wrap, binary or BINARY), {k: str(v) for k, v in full.items() if v is not None}, text)

    def cni(self, *args, timeout=30, **kw):
        return self.cni_start(*args, **kw).finish(timeout)

    def cni_status(self, version="1.1.0", **kw):
        return self.cni("STATUS", None, None, None, conf={"cniVersion": version}, **kw)

    def new_pod(self, name, **kw):
        """A namespace for a pod, not yet attached."""
        pod = Pod(self, name, **kw)
        self.pods.append(pod)
        return pod

    def pod(self, name, namespace="default", **kw):
        return self.new_pod(name, namespace=namespace, **kw).add()

    def host_links(self):
        return {name: row for name, row in self.links().items() if name.startswith("cali")}

    def objects(self, plural):
        return self.lab.objects(plural)


class Lab:
    """Nodes on a switch (one bridge a subnet, a router between them), one datastore folder, cleaned up at the end."""

    def __init__(self, name="lab", keep=False, mtu=1500, parent="/tmp"):
        self.keep, self.mtu, self.counter = keep, mtu, 0
        self.nodes, self.extra = [], []
        self.failed = False

        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="manx-%s-" % name, dir=parent))
        self.host_before = self.host_names()
        (self.dir / "store").mkdir()
        self.fabric = Namespace(self.dir / "fabric")
        self.fabric.sysctl({"net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1})
        self.subnets = set()
        LABS.append(self)

    def count(self):
        self.counter += 1
        return self.counter

    # Subnet 0 is 192.0.2.0/24 and 2001:db8::/64; the router has .1, nodes .11, .12 ...
    @staticmethod
    def subnet_v4(subnet):
        return ("192.0.2", "198.51.100", "203.0.113")[subnet]

    @staticmethod
    def subnet_v6(subnet):
        return "2001:db8:%x:" % subnet if subnet else "2001:db8:"

    def plug(self, node):
        four, six, bridge = self.subnet_v4(node.subnet), self.subnet_v6(node.subnet), "br%d" % node.subnet
        lines = []
        if node.subnet not in self.subnets:
            self.subnets.add(node.subnet)
            lines += ["link add %s mtu %d type bridge mcast_snooping 0" % (bridge, self.mtu),
                      "addr add %s.1/24 dev %s" % (four, bridge), "addr add %s:1/64 dev %s nodad" % (six, bridge),
                      "link set %s up" % bridge]
        port = "p%d" % node.number
        lines += ["link add %s mtu %d type veth peer name eth0 mtu %d netns %s" % (port, self.mtu, self.mtu, node.path),
                  "link set %s master %s up" % (port, bridge)]
        self.fabric.batch(*lines)
        v4, v6 = "%s.%d" % (four, 10 + node.number), "%s:%d" % (six, 10 + node.number)
        node.sysctl({"net/ipv4/ip_forward": 0, "net/ipv4/conf/all/rp_filter": 0, "net/ipv4/conf/default/rp_filter": 0})
        node.batch("addr add %s/24 dev eth0" % v4, "addr add %s/64 dev eth0 nodad" % v6, "link set eth0 up",
                   "route add 0.0.0.0/0 via %s.1" % four, "route add ::/0 via %s:1" % six)
        return v4, str(ipaddress.ip_address(v6))

    def node(self, name=None, subnet=0):
        node = Node(self, name or "edge-%d" % (len(self.nodes) + 1), subnet)
        self.nodes.append(node)
        return node

    def namespace(self, name):
        ns = Namespace(self.dir / ("ns-" + name))
        self.extra.append(ns)
        return ns

    # The datastore folder.
    @property
    def store(self):
        return self.dir / "store"

    def write(self, name, text):
        """Puts a file into the datastore folder in one step; objects are written as JSON."""
        if not isinstance(text, str):
            text = json.dumps(text, indent=1) + "\n"
        tmp = self.store / (".%s.tmp" % name)
        tmp.write_text(text)
        tmp.rename(self.store / name)

    def erase(self, name):
        (self.store / name).unlink()

    def objects(self, plural):
        """What the agents wrote, by name."""
        found = {}
        for path in sorted((self.store / ".manx" / plural).glob("**/*.json")):
            with contextlib.suppress(FileNotFoundError):    # another agent may take it away meanwhile
                found[path.stem] = json.loads(path.read_text())
        return found

    # The end.
    @staticmethod
    def host_names():
        """What would be in the host's own namespace if an agent had worked there."""
        links = json.loads(run(["ip", "-j", "link"]).stdout or "[]")
        routes = run(["ip", "-N", "route", "show", "table", "all"]).stdout.splitlines()
        return {row["ifname"] for row in links if row["ifname"].startswith(KERNEL_NAMES)} | \
               {line for line in routes if any("proto %d" % n in line for n in (171, 172, 173))}

    def spaces(self):
        return [self.fabric, *self.extra, *self.nodes, *(pod for node in self.nodes for pod in node.pods)]

    def processes(self):
        """Pids of processes inside one of our namespaces."""
        ours, found = {ns.inode() for ns in self.spaces() if os.path.exists(ns.path)}, []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.stat("/proc/%s/ns/net" % pid).st_ino in ours and int(pid) != os.getpid():
                    found.append(int(pid))
        return found

    def mounts(self):
        with open("/proc/self/mountinfo") as f:
            return [line.split()[4] for line in f if (" %s/" % self.dir) in line]

    def logs(self, lines=60):
        text = ""
        for node in self.nodes:
            tail = node.log().splitlines()[-lines:]
            text += "--- agent of %s%s\n%s\n" % (node.name, "" if tail else ": no log", "\n".join(tail))
        return text

    def close(self):
        leaks = []
        for node in self.nodes:
            try:
                node.end()
            except AssertionError as e:
                leaks.append(str(e))
        for pid in self.processes():        # inside our namespaces: started by us, or by what we started
            with contextlib.suppress(OSError):
                with open("/proc/%d/cmdline" % pid) as f:
                    leaks.append("process %d still ran: %s" % (pid, f.read().replace("\0", " ")))
                os.kill(pid, signal.SIGKILL)
        for ns in reversed(self.spaces()):
            ns.remove()
        leaks += ["mount %s is left" % m for m in self.mounts()]
        leaks += ["the host has %s" % n for n in sorted(self.host_names() - self.host_before)]
        if not self.mounts():
            shutil.rmtree(self.dir, ignore_errors=True)
            if self.dir.exists():
                leaks.append("folder %s is left" % self.dir)
        LABS.remove(self)
        return leaks

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.keep and kind is None:
            return
        if kind is not None and kind is not SystemExit:
            sys.stderr.write(self.logs())
        leaks = self.close()
        if leaks and kind is None:
            raise AssertionError("the lab leaks:\n" + "\n".join(leaks))
        for leak in leaks:
            sys.stderr.write("leak: %s\n" % leak)


LABS = []       # open ones: the failure report prints their logs

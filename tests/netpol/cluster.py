"""Two nodes with agents and the pods of a scene, which scene after scene is put into the datastore."""
import json
import socket
import struct

from lab import POOLS, ping, wait_for
from netpol import judge
from netpol.probe import Prober
from netpol.scene import NINE, Scene

ADDRESS_TAKEN = 103
TEXT = {4: "v4", 6: "v6"}
KEYS = ["TCP/80", "TCP/81", "UDP/80", "UDP/81", "SCTP/80", "SCTP/81", "ICMP/8"]


def ask(node, *words):
    """What `manx WORDS -o json` prints, without a process for it."""
    text, answer = b"".join(word.encode() + b"\0" for word in words) + b"\1\0", b""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(node.socket_path)
        s.sendall(struct.pack("!BBBBI", 1, 2, 0, 0, len(text)) + text)
        while True:
            more = s.recv(65536)
            answer += more
            if not more:
                return json.loads(answer[8:].split(b"\0")[0])


def turn(node, times=3):
    """Returns after the agent has taken in what had happened before: it reads events in the order they came, and
    makes the kernel match before it reads more."""
    for _ in range(times):
        ask(node, "status")


class Cluster:
    """pods: attached ones by "namespace/name".  Pods stay from scene to scene as long as they are in it."""

    def __init__(self, lab, **config):
        self.lab = lab
        self.nodes = [lab.node().start(wait=False, **config) for _ in range(2)]
        for node in self.nodes:
            node.wait_ready()
        self.pods, self.attached = {}, 0
        self.heirs = {}                 # pods to be attached where that other one was, with its addresses
        self.probers = {family: Prober(six=family == 6) for family in TEXT}
        self.scene(4)
        self.put()
        for a in self.pods.values():
            for family in TEXT.values():
                for b in self.pods.values():
                    wait_for("routes", lambda: ping(a, getattr(b, family)))

    def close(self):
        for prober in self.probers.values():
            prober.close()

    def scene(self, family):
        """A new scene, of that family's addresses; put() it when it is as it should be."""
        self.family = family
        self.now = Scene(POOLS[family == 6], self.addresses())
        return self.now

    def addresses(self):
        return {key: getattr(pod, TEXT[self.family]) for key, pod in self.pods.items()}

    def write(self):
        self.now.addresses = self.addresses()
        self.lab.write("scene.json", json.dumps(self.now.objects()))

    def put(self):
        """The scene's pods are attached, others are not; its objects are in force."""
        running = self.now.running()
        for key in [k for k in self.pods if k not in running]:
            self.detach(key)
        self.write()
        for key in [k for k in running if k not in self.pods]:
            self.attach(key)
        self.write()
        for node in self.nodes:
            turn(node)

    def attach(self, key):
        namespace, name = key.split("/")
        node = self.nodes[NINE.index(key) % 2 if key in NINE else self.attached % 2]
        if key in self.heirs:
            self.pods[key] = self.inherit(self.heirs.pop(key), name, namespace)
        else:
            self.pods[key] = node.pod(name, namespace=namespace)
        self.attached += 1

    @staticmethod
    def inherit(old, name, namespace):
        """The addresses come back a moment after the DEL."""
        pod = old.node.new_pod(name, namespace=namespace)

        def added():
            answer = pod.start_add(conf={"runtimeConfig": {"ips": [old.v4, old.v6]}}).finish()
            return None if answer.code and answer.json["code"] == ADDRESS_TAKEN else pod.added(answer)
        assert (wait_for("the address is free", added).v4, pod.v6) == (old.v4, old.v6)
        return pod

    def detach(self, key):
        pod = self.pods.pop(key)
        for prober in self.probers.values():
            prober.pods(self.pods)
        pod.delete().ok()
        pod.remove()

    def step(self, change):
        """Applies it; a pod that is deleted is gone before it comes again."""
        if "delete" in change:
            self.now.apply({"delete": change["delete"]})
            self.put()
        self.now.apply({k: v for k, v in change.items() if k != "delete"})
        self.put()

    def probe(self, order, expected):
        prober = self.probers[self.family]
        prober.pods(self.pods)
        return prober.round(order, expected)

    def judged(self, order):
        """What the judge says of every kind of probe."""
        world = self.now.world()
        return {key: judge.matrix(world, order, key.split("/")[0], int(key.split("/")[1])) for key in KEYS}


def table(node):
    """Our table in a form that does not depend on the order in which things were made."""
    found = {}
    for item in json.loads(node.run("nft", "-j", "list", "table", "inet", "manx").stdout)["nftables"]:
        (kind, body), = item.items()
        body = {k: v for k, v in body.items() if k not in ("handle", "flags")}
        if kind == "rule":
            found.setdefault(("rules", body["chain"]), []).append(json.dumps(body, sort_keys=True))
        elif kind != "metainfo":
            body["elem"] = sorted(json.dumps(e, sort_keys=True) for e in body.get("elem", ()))
            found[kind, body["name"]] = body
    return found


def difference(expected, found, order):
    """For people."""
    return "\n".join("%s %s -> %s: %s, should be %s" % (key, a, b, row[j], expected[key][i][j])
                     for key, rows in found.items() for i, (a, row) in enumerate(zip(order, rows))
                     for j, b in enumerate(order) if row[j] != expected[key][i][j])

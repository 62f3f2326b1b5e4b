"""Random scenarios, in the form of the cases but without matrices: the judge gives those.  A seed and a number make one."""
import random

from netpol.scene import NAMESPACES, NINE

POD_KEYS = [("pod", ["a", "b", "c"]), ("role", ["web", "db", ""]), ("env", ["prod", "dev"]), ("v", ["1", "2"])]
NAMESPACE_KEYS = [("ns", NAMESPACES), ("team", ["red", "blue"]), ("kubernetes.io/metadata.name", NAMESPACES)]
# Also addresses in other notations and of the other family: those mean nobody here.
BLOCKS = ["${pool}", "${any}", "0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "10.42.0.0/17", "fd00:10:42::/49"]
PORT_NAMES = ["serve-80-tcp", "serve-81-udp", "web", "alt", "nope"]


class Maker:
    def __init__(self, seed, number):
        self.r = random.Random("%d/%d" % (seed, number))
        self.ports = {}

    def chance(self, p):
        return self.r.random() < p

    def some(self, values, least=0, most=99):
        return self.r.sample(values, self.r.randint(least, min(most, len(values))))

    def list_of(self, least, most, make):
        return [make() for _ in range(self.r.randint(least, most))]

    # ---- pods and namespaces

    def pod(self, key):
        labels = {"pod": key.split("/")[1]}
        labels.update((name, self.r.choice(values)) for name, values in POD_KEYS[1:] if self.chance(0.5))
        return {"labels": labels, **self.ports.get(key, {})}

    def named_ports(self):
        return [[name, self.r.choice(["TCP", "UDP"]), self.r.choice([80, 81])] for name in self.some(["web", "alt"], 1)]

    def namespace(self, name):
        return {"ns": name, **({"team": self.r.choice(["red", "blue"])} if self.chance(0.5) else {})}

    # ---- policies

    def expression(self, key, values):
        operator = self.r.choice(["In", "NotIn", "Exists", "DoesNotExist"])
        return {"key": key, "operator": operator, **({"values": self.some(values, 1, 2)} if "In" in operator else {})}

    def selector(self, keys):
        found = {}
        if self.chance(0.45):
            key, values = self.r.choice(keys)
            found["matchLabels"] = {key: self.r.choice(values)}
        if self.chance(0.45):
            found["matchExpressions"] = self.list_of(1, 2, lambda: self.expression(*self.r.choice(keys)))
        return found

    def block(self):
        wide = self.chance(0.5)
        cidr = self.r.choice(BLOCKS) if wide else "${ip:%s}/32" % self.r.choice(NINE)
        block = {"cidr": cidr}
        if cidr in ("${pool}", "${any}") and self.chance(0.5):
            block["except"] = ["${ip:%s}/32" % key for key in self.some(NINE, 1, 3)]
        return {"ipBlock": block}

    def peer(self):
        kind = self.r.randrange(4)
        if kind == 0:
            return self.block()
        found = {}
        if kind in (1, 3):
            found["podSelector"] = self.selector(POD_KEYS)
        if kind in (2, 3):
            found["namespaceSelector"] = self.selector(NAMESPACE_KEYS)
        return found

    def port(self):
        protocol = self.r.choice([{"protocol": "TCP"}, {"protocol": "UDP"}, {"protocol": "SCTP"}, {}])
        kind = self.r.random()
        if kind < 0.15:
            return protocol
        if kind < 0.5:
            return {**protocol, "port": self.r.choice([80, 81])}
        if kind < 0.75:
            return {**protocol, "port": self.r.choice(PORT_NAMES)}
        first = self.r.choice([1, 79, 80, 81])
        return {**protocol, "port": first, "endPort": self.r.choice([first, first + 1, 100, 65535])}

    def rule(self, peers):
        found = {}
        if self.chance(0.8):
            found[peers] = self.list_of(0, 3, self.peer)
        if self.chance(0.7):
            found["ports"] = self.list_of(0, 3, self.port)
        return found

    def policy(self, name):
        spec = {"podSelector": self.selector(POD_KEYS)}
        if self.chance(0.75):
            spec["ingress"] = self.list_of(0, 3, lambda: self.rule("from"))
        if self.chance(0.5):
            spec["egress"] = self.list_of(0, 3, lambda: self.rule("to"))
        if self.chance(0.6):
            spec["policyTypes"] = self.some(["Ingress", "Egress"], 1)
        return {"metadata": {"name": name, "namespace": self.r.choice(NAMESPACES)}, "spec": spec}

    # ---- what happens

    def step(self, live):
        """live: the policies that are there, as they were last."""
        kind = self.r.random()
        if kind < 0.35:
            key = self.r.choice(NINE)
            return {"pods": {key: self.pod(key)}}
        if kind < 0.5:
            name = self.r.choice(NAMESPACES)
            return {"namespaces": {name: self.namespace(name)}}
        if kind < 0.65 and live:
            gone = live.pop(self.r.randrange(len(live)))["metadata"]
            return {"delete": [["NetworkPolicy", "%(namespace)s/%(name)s" % gone]]}
        if kind < 0.85 and live:
            at = self.r.randrange(len(live))
            live[at] = {**live[at], "spec": self.policy("")["spec"]}
            return {"policies": [live[at]]}
        live.append(self.policy("late-%d" % len(live)))
        return {"policies": [live[-1]]}

    def scenario(self):
        self.ports = {key: {"ports": self.named_ports()} for key in NINE if self.chance(0.3)}
        policies = [self.policy("p%d" % i) for i in range(self.r.randint(1, 4))]
        found = {"pods": {key: self.pod(key) for key in NINE}, "policies": list(policies),
                 "namespaces": {name: self.namespace(name) for name in NAMESPACES}}
        return {**found, "steps": [{}] + self.list_of(1, 3, lambda: self.step(policies))}


def scenario(seed, number):
    return Maker(seed, number).scenario()

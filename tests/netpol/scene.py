"""What a cluster holds in a policy test: namespaces, pods and policies, changed step by step, as API objects.

A case (cases/*.json) and a random scenario have the same form:

    namespaces  name to labels        on top of x, y, z, labelled ns=<name>
    pods        "ns/name" to {labels, ports}     on top of a, b, c in each, labelled pod=<name>; ports are
                                      [name, protocol, number], by default 80 and 81 of TCP, UDP and SCTP
    policies    NetworkPolicies without what is always the same of them
    families    in which the matrices hold; by default both
    steps       in order: delete ([kind, key], a Namespace takes along what is in it), then the three above (created
                or replaced), then probe.  matrix: "TCP/80 UDP/80" to a row for each source pod, in them a
                character for each destination: "." reaches it, "X" does not.  order: of rows and columns
    doubt       implementations are known to differ, and why

In the policies stands ${ip:x/a} for a pod's address (/32 behind it is /128 for IPv6), ${pool} for all pods'
addresses, ${any} for all of the family.
"""
import copy
import ipaddress
import json
import pathlib

from netpol import judge

CASES = pathlib.Path(__file__).resolve().parent / "cases"
NAMESPACES = ["x", "y", "z"]
NINE = ["%s/%s" % (ns, pod) for ns in NAMESPACES for pod in "abc"]
PORTS = [["serve-%d-%s" % (number, protocol.lower()), protocol, number]
         for number in (80, 81) for protocol in ("TCP", "UDP", "SCTP")]


def load(name):
    return json.loads((CASES / (name + ".json")).read_text())


def names():
    return sorted(path.stem for path in CASES.glob("*.json"))


def matrices(step):
    """{"TCP/80": rows} of a case's step."""
    return {key: rows.split() for keys, rows in step["matrix"].items() for key in keys.split()}


class Scene:
    """addresses: of each pod, in the family that is tried; pool: the prefix of all."""

    def __init__(self, pool, addresses):
        self.pool, self.addresses = pool, addresses
        self.namespaces = {ns: {"ns": ns} for ns in NAMESPACES}
        self.pods = {key: {"labels": {"pod": key.split("/")[1]}} for key in NINE}
        self.policies = {}

    def apply(self, change):
        for kind, key in change.get("delete", ()):
            self.delete(kind, key)
        self.namespaces.update(change.get("namespaces", {}))
        self.pods.update(change.get("pods", {}))
        for policy in change.get("policies", ()):
            self.policies["%(namespace)s/%(name)s" % policy["metadata"]] = policy

    def delete(self, kind, key):
        table = {"Namespace": self.namespaces, "Pod": self.pods, "NetworkPolicy": self.policies}[kind]
        del table[key]
        if kind == "Namespace":
            for inside in (self.pods, self.policies):
                for name in [n for n in inside if n.startswith(key + "/")]:
                    del inside[name]

    def filled(self, value):
        """With addresses in place of their placeholders."""
        if isinstance(value, dict):
            return {k: self.filled(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.filled(v) for v in value]
        if isinstance(value, str) and "${" in value:
            for key, ip in self.addresses.items():
                host = "%s/%d" % (ip, ipaddress.ip_address(ip).max_prefixlen)
                value = value.replace("${ip:%s}/32" % key, host).replace("${ip:%s}" % key, ip)
            value = value.replace("${pool}", self.pool).replace("${any}", "::/0" if ":" in self.pool else "0.0.0.0/0")
        return value

    def policy_objects(self):
        return [self.filled({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", **policy})
                for policy in self.policies.values()]

    def objects(self):
        """All of it, as the API server would have it."""
        found = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
                 for name, labels in self.namespaces.items()]
        return found + [self.pod_object(key, pod) for key, pod in self.pods.items()] + self.policy_objects()

    def pod_object(self, key, pod):
        namespace, name = key.split("/")
        containers = [{"name": "c%d" % i, "ports": [{**({"name": port} if port else {}), "protocol": protocol,
                                                     "containerPort": number}]}
                      for i, (port, protocol, number) in enumerate(pod.get("ports", PORTS))]
        found = {"apiVersion": "v1", "kind": "Pod",
                 "metadata": {"name": name, "namespace": namespace, "labels": pod["labels"]},
                 "spec": {"containers": containers or [{"name": "c"}]}, "status": {"phase": pod.get("phase", "Running")}}
        if key in self.addresses or "ip" in pod:
            found["status"]["podIPs"] = [{"ip": pod.get("ip") or self.addresses[key]}]
        return found

    def running(self):
        """The pods that are there; of one that ended ("phase", "ip") only its object is."""
        return {key: pod for key, pod in self.pods.items() if "phase" not in pod}

    def world(self):
        """For the judge."""
        pods = {key: judge.Pod(key, pod["labels"], [tuple(p) for p in pod.get("ports", PORTS)], self.addresses[key])
                for key, pod in self.running().items()}
        labels = {name: {**own, "kubernetes.io/metadata.name": name} for name, own in self.namespaces.items()}
        return judge.World(pods, labels, copy.deepcopy(self.policy_objects()))

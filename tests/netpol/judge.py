"""The reference judge of Kubernetes NetworkPolicy: slow, obvious, read off the API's text.

No index, no cache, nothing worked out beforehand.  A packet goes from one pod to another; what it carries is a
protocol ("TCP", "UDP", "SCTP", or "ICMP", of which the API says nothing) and the destination's port.

    same pod                          allowed, it never leaves the pod
    egress of the source denies       denied
    ingress of the destination denies denied
    else                              allowed

A direction denies when some policy isolates the pod in that direction and no rule of any such policy matches.
"""
import ipaddress


class Pod:
    """labels: a dictionary; ports: (name, protocol, number), name "" if it has none; ip: of the family that is tried."""

    def __init__(self, key, labels, ports, ip):
        self.key, self.labels, self.ports, self.ip = key, labels, ports, ip
        self.namespace, self.name = key.split("/")


class World:
    """pods: by "namespace/name"; namespaces: their labels; policies: API objects."""

    def __init__(self, pods, namespaces, policies):
        self.pods, self.namespaces, self.policies = pods, namespaces, policies


def selects(selector, labels):
    """A LabelSelector: all of its terms hold; {} selects everything.  Absent is the caller's to understand."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    return all(expression_holds(e, labels) for e in selector.get("matchExpressions") or [])


def expression_holds(e, labels):
    key, there = e["key"], e["key"] in labels
    return {"In": there and labels.get(key) in e.get("values", ()),
            "NotIn": not there or labels[key] not in e.get("values", ()),
            "Exists": there,
            "DoesNotExist": not there}[e["operator"]]


def in_block(ip, cidr):
    net = ipaddress.ip_network(cidr, strict=False)
    address = ipaddress.ip_address(ip)
    return address.version == net.version and address in net


def peer_matches(world, policy, peer, other):
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        return in_block(other.ip, block["cidr"]) and not any(in_block(other.ip, e) for e in block.get("except") or [])
    pods, namespaces = peer.get("podSelector"), peer.get("namespaceSelector")
    if namespaces is None and other.namespace != policy["metadata"]["namespace"]:
        return False
    if namespaces is not None and not selects(namespaces, world.namespaces[other.namespace]):
        return False
    return pods is None or selects(pods, other.labels)


def port_matches(entry, destination, protocol, port):
    if entry.get("protocol", "TCP") != protocol:
        return False
    wanted = entry.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return (wanted, protocol, port) in destination.ports
    return wanted <= port <= entry.get("endPort", wanted)


def rule_matches(world, policy, rule, peers_field, other, destination, protocol, port):
    peers, ports = rule.get(peers_field) or [], rule.get("ports") or []
    return (not peers or any(peer_matches(world, policy, p, other) for p in peers)) and \
           (not ports or any(port_matches(p, destination, protocol, port) for p in ports))


def directions(spec):
    """What the API server fills in when policyTypes is absent."""
    return spec.get("policyTypes") or ["Ingress"] + (["Egress"] if spec.get("egress") else [])


def isolating(world, pod, direction):
    """The policies that isolate the pod in that direction."""
    return [p for p in world.policies
            if p["metadata"]["namespace"] == pod.namespace and direction in directions(p["spec"])
            and selects(p["spec"].get("podSelector") or {}, pod.labels)]


def direction_allows(world, pod, direction, other, destination, protocol, port):
    policies = isolating(world, pod, direction)
    rules, peers = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    return not policies or any(rule_matches(world, p, r, peers, other, destination, protocol, port)
                               for p in policies for r in p["spec"].get(rules) or [])


def allowed(world, source, destination, protocol, port):
    return source.key == destination.key or (
        direction_allows(world, source, "Egress", destination, destination, protocol, port) and
        direction_allows(world, destination, "Ingress", source, destination, protocol, port))


def matrix(world, order, protocol, port):
    """A row for each source, "." allowed, "X" denied."""
    return ["".join("." if allowed(world, world.pods[a], world.pods[b], protocol, port) else "X" for b in order)
            for a in order]

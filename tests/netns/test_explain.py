"""`manx explain`: who decides, in words, of files and of an agent's datastore; held against the judge of tests/netpol."""
import concurrent.futures
import json
import os
import random
import re
import signal

import pytest

from lab import BINARY, PATH, run, wait_for
from netpol.cluster import turn
from netpol import chance, judge, scene

PODS = """
{apiVersion: v1, kind: Namespace, metadata: {name: db, labels: {team: data}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: front, namespace: web, labels: {app: front}}, status: {podIPs: [{ip: 10.42.7.12}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: pg-0, namespace: db, labels: {app: pg}}, spec: {nodeName: edge-03},
 status: {podIPs: [{ip: 10.42.3.9}, {ip: 'fd00::9'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: alone, namespace: default}, status: {podIPs: [{ip: 'fd00::1'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: proxy, namespace: web, labels: {app: front}},
 spec: {nodeName: edge-03, hostNetwork: true}, status: {podIPs: [{ip: 192.0.2.3}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: edge-03, annotations: {projectcalico.org/IPv4Address: 192.0.2.3/24}}}
"""
POLICIES = """# line 1
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: front, namespace: web}
spec:
  podSelector: {matchLabels: {app: front}}
  policyTypes: [Egress]
  egress:
  - ports: [{port: 53, protocol: UDP}]
  - to: [{namespaceSelector: {matchLabels: {team: data}}}]
    ports: [{port: 5432}, {port: 80}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-api, namespace: db}
spec:
  podSelector: {}
  ingress:
  - from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: api}}}]
  - ports: [{port: 80}]
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    for name, text in (("pods.yaml", PODS), ("policies.yaml", POLICIES)):
        (folder / name).write_text(text)
    return folder


def asked(*words, folder=None, names=("policies.yaml", "pods.yaml"), check=None):
    """The parsed JSON, or with check (an exit code that is not a verdict) what was said."""
    argv = [BINARY, "explain", *words, "-o", "json"]
    for name in names if folder else ():
        argv += ["-f", str(folder / name)]
    p = run(argv, check=False, env={"PATH": PATH})
    if check is not None:
        assert p.returncode == check, (p.stdout, p.stderr)
        return p.stderr
    found = json.loads(p.stdout)
    assert p.returncode == {"allow": 0, "deny": 10}[found["verdict"]], p.stderr
    return found


NODES = """
{apiVersion: crd.projectcalico.org/v1, kind: IPPool, metadata: {name: p},
 spec: {cidr: 10.42.0.0/16, ipipMode: MODE, natOutgoing: true}}
---
{apiVersion: v1, kind: Node, metadata: {name: near, annotations: {projectcalico.org/IPv4Address: 192.0.2.4/24,
 projectcalico.org/IPv4IPIPTunnelAddr: 10.42.4.1}}}
---
{apiVersion: v1, kind: Node, metadata: {name: far, annotations: {projectcalico.org/IPv4Address: 198.51.100.5/24,
 projectcalico.org/IPv4IPIPTunnelAddr: 10.42.5.1}}}
"""


@pytest.mark.parametrize("mode,near", [("Always", "10.42.4.1"), ("CrossSubnet", "192.0.2.4")])
def test_node_comes_from_the_address_by_which_it_reaches_the_pod(files, tmp_path, mode, near):
    """Through a tunnel by its tunnel's; to a node of its own subnet there may be none."""
    (tmp_path / "nodes.yaml").write_text(NODES.replace("MODE", mode))
    names = [str(files / "pods.yaml"), str(tmp_path / "nodes.yaml")]
    assert asked("node:near", "db/pg-0", "80", folder=tmp_path, names=names)["from"]["address"] == near
    assert asked("node:far", "db/pg-0", "80", folder=tmp_path, names=names)["from"]["address"] == "10.42.5.1"


def steps(found, direction):
    return [(s["policy"], s["rule"], s["matches"], s["action"]) for s in found[direction]]


def test_every_step_names_policy_rule_file_and_line(files):
    found = asked("web/front", "db/pg-0", "5432/tcp", folder=files)
    assert found["verdict"] == "deny"
    assert steps(found, "egress") == [("web/front", "egress[0]", False, ""), ("web/front", "egress[1]", True, "allow")]
    assert steps(found, "ingress") == [("db/only-api", "ingress[0]", False, ""), ("db/only-api", "ingress[1]", False, ""),
                                       ("db/only-api", "", True, "deny")]
    assert {(s["kind"], s["file"], s["line"]) for s in found["egress"]} == \
        {("NetworkPolicy", str(files / "policies.yaml"), 2)}
    assert found["ingress"][0]["why"] == "pod front is not app == 'api'"
    assert found["ingress"][1]["why"] == "tcp/5432 is not tcp/80"
    assert found["nearest_miss"] == "NetworkPolicy db/only-api ingress[0]: pod front is not app == 'api'"
    assert found["from"] == {"name": "web/front", "address": "10.42.7.12", "node": ""}
    assert found["to"] == {"name": "db/pg-0", "address": "10.42.3.9", "node": "edge-03"}


def test_text_says_the_same(files):
    p = run([BINARY, "explain", "web/front", "db/pg-0", "80", "-f", str(files / "policies.yaml"), "-f", str(files / "pods.yaml")])
    assert p.stdout.startswith("ALLOW  web/front (10.42.7.12) -> db/pg-0 (10.42.3.9) tcp/80\n")
    for line in ("NetworkPolicy web/front egress[1]: allow  (%s:2)" % (files / "policies.yaml"),
                 "NetworkPolicy db/only-api ingress[0]: pod front is not app == 'api'"):
        assert line in p.stdout


@pytest.mark.parametrize("words, verdict", [
    (("10.42.7.12", "10.42.3.9", "80"), "allow"),               # addresses stand for their pods
    (("10.42.7.12", "db/pg-0", "81"), "deny"),
    (("web/front", "198.51.100.1", "53/udp"), "allow"),         # and others for nobody
    (("web/front", "198.51.100.1", "53"), "deny"),
    (("198.51.100.1", "db/pg-0", "443"), "deny"),
    (("node:edge-03", "db/pg-0", "443"), "allow"),              # its own node
    (("192.0.2.3", "db/pg-0", "443"), "allow"),
    (("db/pg-0", "192.0.2.3", "443"), "allow"),
    (("web/front", "node:edge-03", "443"), "deny"),
    (("web/front", "web/front", "443"), "allow"),
    (("web/proxy", "web/front", "443"), "allow"),               # on the host's network: no policy is for it
    (("alone", "db/pg-0", "443"), "deny"),                      # by IPv6
    (("alone", "db/pg-0", "80/UDP"), "deny"),
    (("alone", "db/pg-0", "80"), "allow"),
])
def test_ends(files, words, verdict):
    assert asked(*words, folder=files)["verdict"] == verdict


@pytest.mark.parametrize("words, code, text", [
    (("web/front", "db/pg-0", "0"), 2, "0: want PORT"),
    (("web/front", "db/pg-0", "65536"), 2, "65536: want PORT"),
    (("web/front", "db/pg-0", "http"), 2, "http: want PORT"),
    (("web/front", "db/pg-0", "80/icmp"), 2, "80/icmp: want tcp"),
    (("web/front", "db/pg-0"), 2, "usage: manx explain FROM TO PORT"),
    (("web/nobody", "db/pg-0", "80"), 1, "web/nobody: no such pod"),
    (("web/front", "node:none", "80"), 1, "node:none: no such node"),
    (("web/front", "alone", "80"), 1, "no addresses of one family"),
])
def test_questions_that_have_no_answer(files, words, code, text):
    assert text in asked(*words, folder=files, check=code)


def test_file_that_cannot_be_read(files, tmp_path):
    (tmp_path / "bad.yaml").write_text("kind: [\n")
    assert "none.yaml: No such file" in asked("a", "b", "1", folder=tmp_path, names=["none.yaml"], check=5)
    assert "bad.yaml:" in asked("a", "b", "1", folder=tmp_path, names=["bad.yaml"], check=5)


def test_policy_that_is_refused_isolates_and_says_so(files, tmp_path):
    (tmp_path / "bad.yaml").write_text(POLICIES.replace("port: 80}]\n", "port: 80, endPort: 7}]\n"))
    (tmp_path / "pods.yaml").write_text(PODS)
    found = asked("web/front", "db/pg-0", "80", folder=tmp_path, names=["bad.yaml", "pods.yaml"])
    assert found["verdict"] == "deny"
    assert "endPort" in found["ingress"][0]["why"] and "refused" in found["ingress"][0]["why"]


# ---- against the judge ----

def explained(pool, folder, here, world, questions, what):
    (folder / "scene.json").write_text(json.dumps(here.objects()))

    def explain(question):
        a, b, protocol, port = question
        return asked(a, b, "%d/%s" % (port, protocol), folder=folder, names=["scene.json"])
    for (a, b, protocol, port), found in zip(questions, pool.map(explain, questions)):
        allowed = judge.allowed(world, world.pods[a], world.pods[b], protocol, port)
        assert (found["verdict"] == "allow") == allowed, (what, a, b, protocol, port, found)


@pytest.mark.parametrize("family", [4, 6])
def test_agrees_with_the_judge(tmp_path, family):
    """Six questions at each step of each case and of a hundred random scenarios."""
    r = random.Random(family)
    block = "10.42.%d.%d" if family == 4 else "fd00:10:42::%d:%d"
    everything = [(name, scene.load(name)) for name in scene.names()] + \
                 [("random 1/%d" % i, chance.scenario(1, i)) for i in range(100)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, case in everything:
            addresses = {key: block % (i % 3, i + 7) for i, key in enumerate(scene.NINE)}
            here = scene.Scene("10.42.0.0/16" if family == 4 else "fd00:10:42::/48", addresses)
            here.apply(case)
            for step in case["steps"]:
                for key in step.get("pods", ()):
                    addresses.setdefault(key, block % (9, len(addresses)))
                here.apply(step)
                world = here.world()
                order = sorted(world.pods)
                questions = [(r.choice(order), r.choice(order), r.choice(["TCP", "UDP", "SCTP"]), r.choice([80, 81]))
                             for _ in range(6)]
                explained(pool, tmp_path, here, world, questions, name)


def test_agent_answers_of_its_datastore(lab):
    node = lab.node().start()
    lab.write("pods.yaml", PODS)
    lab.write("policies.yaml", POLICIES)
    pod = node.pod("front", namespace="web")
    p = node.manx("explain", "web/front", "db/pg-0", "5432", "-o", "json", check=False)
    found = json.loads(p.stdout)
    assert p.returncode == 10 and found["verdict"] == "deny"
    assert found["from"] == {"name": "web/front", "address": pod.v4, "node": node.name}
    assert found["ingress"][-1]["policy"] == "db/only-api" and found["ingress"][-1]["line"] == 13
    assert found["ingress"][-1]["file"].endswith("policies.yaml")
    assert node.manx("explain", "node:" + node.name, "web/front", "1").stdout.startswith("ALLOW")
    p = node.manx("explain", "web/front", "web/none", "1", check=False)
    assert p.returncode == 1 and p.stderr == "manx: web/none: no such pod\n"


# ---- the kernel ----

ENDS = """
{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: a}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, labels: {app: b}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: from-a}
spec:
  podSelector: {matchLabels: {app: b}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: a}}}]
    ports: [{port: 80}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: not-out}
spec: {podSelector: {matchLabels: {app: b}}, policyTypes: [Egress]}
"""


@pytest.fixture(scope="module")
def pair(lab):
    """Two pods on a node whose table anybody may change."""
    node = lab.node().start(nft_owner="no")
    lab.write("ends.yaml", ENDS)
    a, b = node.pod("a"), node.pod("b")
    turn(node)
    return a, b


def kernel_says(node, *words, files=None):
    """What explain says of the kernel: the agent's, or of files without asking it."""
    more = ["-f", str(files), "--config", node.write_config()] if files else ["--socket", node.socket_path]
    p = node.run(BINARY, "explain", *words, "-o", "json", *more, check=False)
    return json.loads(p.stdout)["kernel"]


@pytest.mark.parametrize("by_files", [False, True], ids=["agent", "files"])
@pytest.mark.parametrize("words, verdict", [
    (("a", "b", "80"), "agrees"), (("a", "b", "81"), "agrees"), (("b", "a", "80"), "agrees"),
    (("b", "198.51.100.1", "80"), "agrees"), (("198.51.100.1", "b", "80"), "agrees"),
    (("198.51.100.1", "198.51.100.2", "80"), "not asked: neither is a pod of this node"),
    (("a", "a", "80"), "not asked: no policy is")])
def test_kernel_agrees(pair, by_files, words, verdict):
    node = pair[0].node
    assert kernel_says(node, *words, files=node.lab.store / "ends.yaml" if by_files else None) == verdict


def test_kernel_agrees_about_the_node_itself(pair):
    node = pair[0].node
    for name in "ab":
        assert kernel_says(node, name, "node:" + node.name, "80") == "agrees"


def set_with(node, prefix, address):
    """The set of that kind which holds the address."""
    for item in json.loads(node.run("nft", "-j", "list", "table", "inet", "manx").stdout)["nftables"]:
        if item.get("set", {}).get("name", "").startswith(prefix) and address in item["set"].get("elem", ()):
            return item["set"]["name"]
    raise AssertionError("no set %s* holds %s" % (prefix, address))


def damage(pair, which):
    """What nft does to the table, and what explain says of it."""
    a, b = pair
    peers = set_with(a.node, "peers-", a.v4)
    text = a.node.run("nft", "list", "chains", "inet").stdout
    chain = re.search(r"chain (in-\w+)", text).group(1)
    return {"element": ("delete element inet manx %s { %s }" % (peers, a.v4),
                        "drops it: set %s lacks { %s }" % (peers, a.v4)),
            "map": ("delete element inet manx in-4 { %s }; flush map inet manx in-ports-4" % b.v4, "agrees"),
            "rules": ("flush chain inet manx " + chain, "chain %s is not as it should be" % chain),
            "table": ("delete table inet manx", "there is no table inet manx")}[which]


@pytest.mark.parametrize("which", ["element", "map", "rules", "table"])
def test_kernel_that_differs_is_told_of_without_an_agent(pair, which):
    """The agent is stopped, so that it repairs nothing; then it does."""
    node, files = pair[0].node, pair[0].node.lab.store / "ends.yaml"
    command, says = damage(pair, which)
    node.process.send_signal(signal.SIGSTOP)
    try:
        assert kernel_says(node, "a", "b", "80", files=files) == "agrees"
        node.run("nft", command)
        assert kernel_says(node, "a", "b", "80", files=files) == says
        if which == "map":
            assert kernel_says(node, "b", "a", "80", files=files) == "agrees"
            assert re.fullmatch(r"lets through it: map in-4 lacks \{ %s : goto \S+ \}" % re.escape(pair[1].v4),
                                kernel_says(node, "a", "b", "81", files=files))
    finally:
        node.process.send_signal(signal.SIGCONT)
    wait_for("the agent repaired it", lambda: kernel_says(node, "a", "b", "80", files=files) == "agrees")


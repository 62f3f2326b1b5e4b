"""Nodes on which somebody else drops what is forwarded: Docker by iptables, iptables-legacy, firewalld."""
import json
import os
import socket

import pytest
from lab import BINARY, ping, tcp, wait_for

DROPS = "table %s filter { chain FORWARD { type filter hook forward priority 0; policy drop; tcp dport 7 drop; }; }"


@pytest.fixture(scope="module")
def nodes(lab):
    return [lab.node().start(nft_owner=owner) for owner in ("auto", "no")]


@pytest.fixture(scope="module")
def pods(nodes):
    return [node.pod("%s-%d" % (node.name, i)) for node in nodes for i in range(2)]


@pytest.fixture(params=[0, 1], ids=["owned", "shared"])
def node(request, nodes, pods):
    """Its rules are gone afterwards."""
    one = nodes[request.param]
    yield one
    for table in ("ip filter", "ip6 filter", "inet firewalld"):
        one.run("nft", "delete", "table", *table.split(), check=False)


def rules(node, table="ip filter"):
    """The chain's rules in nft's words, those of ours and the others."""
    text = node.run("nft", "list", "chain", *table.split(), "FORWARD").stdout
    lines = [line.strip() for line in text.splitlines() if "{" not in line and "}" not in line and "type filter" not in line]
    return [line for line in lines if 'comment "manx"' in line], [line for line in lines if 'comment "manx"' not in line]


OURS = ['iifname "cali*" accept comment "manx"', 'oifname "cali*" accept comment "manx"']


def drop(node, table="ip"):
    node.run("nft", "-f", "-", input=DROPS % table)


def test_pods_talk_where_the_policy_is_drop(node, nodes, pods):
    drop(node)
    drop(node, "ip6")
    for table in ("ip filter", "ip6 filter"):
        wait_for("two rules in " + table, lambda: rules(node, table) == (OURS, ["tcp dport 7 drop"]), 3)
    for a in pods:
        for b in pods:
            assert ping(a, b.v4) and ping(a, b.v6) and tcp(a, b.v4, b), (a.name, b.name)
    assert "drops by policy" in node.log()


def test_whoever_owns_the_chain_decides_first(node, pods):
    drop(node)
    wait_for("two rules", lambda: rules(node)[0] == OURS, 3)
    here, there = [p for p in pods if p.node is node]
    answers = {}
    for port in (7, 8):
        with there.socket(socket.AF_INET, socket.SOCK_STREAM) as door, here.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            door.bind((there.v4, port))
            door.listen(1)
            s.settimeout(0.3)
            answers[port] = s.connect_ex((there.v4, port)) == 0
    assert answers == {7: False, 8: True}


def test_they_are_kept_and_go_with_the_policy(node):
    drop(node)
    wait_for("two rules", lambda: rules(node)[0] == OURS, 3)
    node.run("nft", "flush", "chain", "ip", "filter", "FORWARD")
    wait_for("they are back", lambda: rules(node)[0] == OURS, 3)
    handle = json.loads(node.run("nft", "-j", "list", "chain", "ip", "filter", "FORWARD").stdout)["nftables"][-1]["rule"]["handle"]
    node.run("nft", "delete", "rule", "ip", "filter", "FORWARD", "handle", str(handle))
    wait_for("the one is back", lambda: rules(node)[0] == OURS, 3)
    node.run("nft", "chain", "ip", "filter", "FORWARD", "{ policy accept; }")
    wait_for("none", lambda: rules(node)[0] == [], 3)
    node.run("nft", "chain", "ip", "filter", "FORWARD", "{ policy drop; }")
    wait_for("two again", lambda: rules(node)[0] == OURS, 3)


def test_a_restart_makes_no_second_pair(node):
    drop(node)
    wait_for("two rules", lambda: rules(node)[0] == OURS, 3)
    node.restart()
    assert rules(node)[0] == OURS


def test_nothing_is_made_where_nobody_drops(node):
    node.run("nft", "-f", "-", input="table ip filter { chain FORWARD { type filter hook forward priority 0; policy accept; }; chain other { }; }")
    node.run("nft", "add", "table", "ip", "elsewhere")
    node.manx("status")
    with pytest.raises(AssertionError):
        wait_for("something is made", lambda: rules(node)[0], 1.5)
    node.run("nft", "delete", "table", "ip", "elsewhere")


def test_iptables_can_read_them(node, pods):
    node.run("iptables-nft", "-P", "FORWARD", "DROP")
    wait_for("two rules", lambda: "-A FORWARD -o cali+" in node.run("iptables-nft", "-S", "FORWARD").stdout, 3)
    said = node.run("iptables-nft", "-S", "FORWARD").stdout
    assert "-P FORWARD DROP\n" in said and "-A FORWARD -i cali+" in said and said.count("-j ACCEPT") == 2, said
    node.run("iptables-nft", "-I", "FORWARD", "-p", "tcp", "--dport", "9", "-j", "DROP")
    mine = [p for p in pods if p.node is node]
    assert tcp(mine[0], mine[1].v4, mine[1])


def problems(node):
    return {p["text"].split()[0]: p["remedy"] for p in node.show("status")["problems"]}


def test_iptables_legacy_is_told_of(node, pods):
    if not os.path.exists("/proc/net/ip_tables_names") and node.run("iptables-legacy", "-S", check=False).returncode:
        pytest.skip("no iptables-legacy in this kernel")
    mine = [p for p in pods if p.node is node]
    node.run("iptables-legacy", "-P", "FORWARD", "DROP")
    assert not tcp(mine[0], mine[1].v4, mine[1], timeout=0.2)
    node.run("nft", "add", "table", "ip", "elsewhere")         # something that it looks at
    remedy = wait_for("it is told", lambda: problems(node).get("iptables-legacy"), 3)
    node.run("sh", "-c", remedy)
    assert tcp(mine[0], mine[1].v4, mine[1])
    node.run("nft", "delete", "table", "ip", "elsewhere")
    wait_for("it is told no more", lambda: "iptables-legacy" not in problems(node), 3)
    node.run("iptables-legacy", "-P", "FORWARD", "ACCEPT")
    node.run("iptables-legacy", "-F", "FORWARD")


def test_firewalld_is_told_of(node):
    node.run("nft", "add", "table", "inet", "firewalld")
    remedy = wait_for("it is told", lambda: problems(node).get("firewalld"), 3)
    assert "--add-source=" in remedy and "firewall-cmd" in remedy
    node.run("nft", "delete", "table", "inet", "firewalld")
    wait_for("it is told no more", lambda: "firewalld" not in problems(node), 3)


@pytest.mark.parametrize("running", [True, False])
def test_uninstall_takes_them_away(own_lab, running):
    node = own_lab.node()
    drop(node)
    node.start()
    wait_for("two rules", lambda: rules(node)[0] == OURS, 3)
    before = rules(node)[1]
    if not running:
        node.kill()
    node.run(BINARY, "uninstall", "--config", str(node.dir / "manx.conf"))
    assert rules(node) == ([], before)
    if running:
        assert node.process.wait(10) == 0
        node.process = None

"""NetworkPolicy as the kernel enforces it: each case of tests/netpol/cases, then random scenarios against the judge.

At each step `manx explain` is held against the judge, too, and the kernel against it; and what the
steps came to against what a fresh agent makes of the last one.  NETPOL_SEED and NETPOL_SCENARIOS choose the random ones; a failure names its number, NETPOL_FIRST begins there.
"""
import os
import random

import pytest

from netpol import chance, scene
from netpol.cluster import Cluster, ask, difference, table

SEED = int(os.environ.get("NETPOL_SEED", "1"))
FIRST = int(os.environ.get("NETPOL_FIRST", "0"))
SCENARIOS = int(os.environ.get("NETPOL_SCENARIOS", "300"))
PART, QUESTIONS, FRESH_EVERY = 30, 10, 15


@pytest.fixture(scope="module")
def cluster(lab):
    made = Cluster(lab)
    yield made
    made.close()


def cases():
    for name in scene.names():
        for family in scene.load(name).get("families", ["v4", "v6"]):
            yield pytest.param(name, int(family[1]), id="%s-%s" % (name, family))


def reaches(cluster, order, expected, what):
    found = cluster.probe(order, expected)
    assert found == expected, "%s\n%s" % (what, difference(expected, found, order))


def explains(cluster, order, expected, r, what):
    """Some questions to the nodes of both ends."""
    for _ in range(QUESTIONS):
        key, i, j = r.choice([k for k in expected if k != "ICMP/8"]), r.randrange(len(order)), r.randrange(len(order))
        protocol, port = key.split("/")
        for node in {cluster.pods[order[i]].node, cluster.pods[order[j]].node}:
            ends = (order[i], getattr(cluster.pods[order[j]], "v%d" % cluster.family))
            found = ask(node, "explain", *ends, port + "/" + protocol)
            assert found["verdict"] == {".": "allow", "X": "deny"}[expected[key][i][j]], (what, key, found)
            assert found["kernel"] == ("agrees" if i != j else "not asked: no policy is"), (what, key, found)


def is_as_if_made_anew(cluster, what):
    """A table that an agent makes from nothing is the one that was there."""
    for node in cluster.nodes:
        before = table(node)
        node.end()
        node.run("nft", "delete", "table", "inet", "manx")
        node.start()
        assert table(node) == before, what


@pytest.mark.parametrize("name, family", cases())
def test_case(cluster, name, family):
    case = scene.load(name)
    cluster.scene(family).apply(case)
    cluster.put()
    for number, step in enumerate(case["steps"]):
        cluster.step(step)
        order, judged = step.get("order", scene.NINE), cluster.judged(step.get("order", scene.NINE))
        expected = {**judged, **scene.matrices(step)}
        assert judged == expected, "the judge and the case disagree in step %d" % number
        reaches(cluster, order, expected, "step %d of %s" % (number, case["title"]))
        explains(cluster, order, expected, random.Random(name), "step %d" % number)
    if number:
        is_as_if_made_anew(cluster, case["title"])


@pytest.mark.parametrize("part", range(FIRST, FIRST + SCENARIOS, PART))
def test_random_scenarios(cluster, part):
    for number in range(part, min(part + PART, FIRST + SCENARIOS)):
        scenario = chance.scenario(SEED, number)
        cluster.scene((4, 6)[number % 2]).apply(scenario)
        for at, step in enumerate(scenario["steps"]):
            what = "NETPOL_SEED=%d NETPOL_FIRST=%d NETPOL_SCENARIOS=1, step %d" % (SEED, number, at)
            cluster.step(step)
            judged = cluster.judged(scene.NINE)
            reaches(cluster, scene.NINE, judged, what)
            explains(cluster, scene.NINE, judged, random.Random(what), what)
        if number % FRESH_EVERY == 0:
            is_as_if_made_anew(cluster, what)


# ---- an address that was another pod's ----

FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["v4", "v6"])


@FAMILIES
def test_pod_that_comes_back_with_its_old_address(cluster, family):
    case = scene.load("act-pod-replaced")
    cluster.scene(family).apply(case)
    cluster.put()
    cluster.heirs["x/b"] = cluster.pods["x/b"]
    for step in case["steps"]:
        cluster.step(step)
        reaches(cluster, step.get("order", scene.NINE), scene.matrices(step), step.get("note", ""))
    assert not cluster.heirs


@FAMILIES
def test_address_of_a_pod_that_finished(cluster, family):
    """Its object stays, and names the address, while another pod has it already; then the object goes."""
    case = scene.load("trap-finished-pod")
    before, after = case["steps"]
    cluster.scene(family).apply(case)
    cluster.put()
    reaches(cluster, scene.NINE, scene.matrices(before), "before it ends")
    old = cluster.heirs["z/e"] = cluster.pods["z/c"]
    cluster.now.pods["z/c"].update(phase="Succeeded", ip=cluster.addresses()["z/c"])
    cluster.step({"pods": after["pods"]})
    assert cluster.pods["z/e"].v4 == old.v4
    reaches(cluster, after["order"], scene.matrices(after), "the object is there")
    cluster.step({"delete": [["Pod", "z/c"]]})
    reaches(cluster, after["order"], scene.matrices(after), "the object is gone")


def test_nothing_came_late(cluster):
    """A round says of the one before whether anything got through after all; so one is needed at the end."""
    for family in (4, 6):
        cluster.scene(family)
        cluster.put()
        reaches(cluster, scene.NINE, cluster.judged(scene.NINE), "no policy")

"""The datastore folder: files that come, change, break and go, and what agents write there.

Nodes and blocks that no agent stands behind serve as the thing seen: each makes a route on the real node.
"""
import contextlib
import ipaddress
import json
import os
import shutil
import time

import pytest

from lab import ping, run, wait_for


@pytest.fixture(scope="module")
def one(lab):
    return lab.node().start(encapsulation="none")


def node_object(name, address, **meta):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {
        "name": name, "annotations": {"projectcalico.org/IPv4Address": address}, **meta}}


def block(cidr, node):
    size = 1 << (32 - int(cidr.split("/")[1]))
    return {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPAMBlock",
            "metadata": {"name": cidr.replace(".", "-").replace("/", "-")},
            "spec": {"cidr": cidr, "affinity": "host:" + node, "strictAffinity": False, "deleted": False,
                     "allocations": [None] * size, "unallocated": list(range(size)), "attributes": [],
                     "sequenceNumber": 1785574800000000017, "sequenceNumberForAllocation": {}}}


def ghost(name, number, address):
    """A node that is only written about, with a block."""
    return [node_object(name, address + "/24"), block("10.42.%d.0/26" % number, name)]


def gateway(node, number):
    return node.routes(4, protocol=172).get("10.42.%d.0/26" % number, {}).get("gateway")


def wait_gateway(node, number, want):
    wait_for("block %d goes by %s" % (number, want), lambda: gateway(node, number) == want, timeout=3)


# --- files ----------------------------------------------------------------------------------------

def test_file_takes_effect_at_once_when_it_comes_changes_and_goes(lab, one):
    lab.write("ghost.json", ghost("ghost-a", 200, "192.0.2.50"))
    wait_gateway(one, 200, "192.0.2.50")
    lab.write("ghost.json", ghost("ghost-a", 200, "192.0.2.51"))
    wait_gateway(one, 200, "192.0.2.51")
    lab.erase("ghost.json")
    wait_gateway(one, 200, None)


def test_file_written_in_place_takes_effect_when_closed(lab, one):
    path = lab.store / "place.json"
    with open(path, "w") as f:
        for obj in ["[", json.dumps(ghost("ghost-b", 201, "192.0.2.52"))[1:]]:
            f.write(obj)
            f.flush()
    wait_gateway(one, 201, "192.0.2.52")
    path.unlink()
    wait_gateway(one, 201, None)


def test_list_object_holds_many(lab, one):
    lab.write("list.json", {"apiVersion": "v1", "kind": "List", "items": ghost("ghost-c", 202, "192.0.2.53")})
    wait_gateway(one, 202, "192.0.2.53")
    lab.erase("list.json")
    wait_gateway(one, 202, None)


def test_dot_files_and_tmp_files_are_ignored(lab, one):
    lab.write(".hidden.json", ghost("ghost-d", 203, "192.0.2.54"))
    lab.write("ghost.json.tmp", ghost("ghost-d", 203, "192.0.2.54"))
    lab.write("notes.txt", "no object\n")
    lab.write("ghost.json", ghost("ghost-e", 204, "192.0.2.55"))
    wait_gateway(one, 204, "192.0.2.55")
    assert gateway(one, 203) is None
    for name in (".hidden.json", "ghost.json.tmp", "notes.txt", "ghost.json"):
        lab.erase(name)


def test_kinds_that_are_not_ours_are_passed_over(lab, one):
    lab.write("mixed.json", [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {}},
                             *ghost("ghost-f", 205, "192.0.2.56")])
    wait_gateway(one, 205, "192.0.2.56")
    lab.erase("mixed.json")


def test_yaml_documents_give_objects_like_json(lab, one):
    lab.write("ghost.yaml", """\
# a node that nobody stands behind, and its block
apiVersion: v1
kind: Node
metadata:
  name: ghost-y
  annotations:
    projectcalico.org/IPv4Address: 192.0.2.70/24
---
%s
""" % json.dumps(block("10.42.213.0/26", "ghost-y"), indent=1))
    wait_gateway(one, 213, "192.0.2.70")
    lab.write("ghost.yaml", lab.store.joinpath("ghost.yaml").read_text().replace("192.0.2.70/24", "192.0.2.70/99"))
    wait_for("the document is named", lambda: "ghost.yaml:7:36: " in one.log())
    assert gateway(one, 213) == "192.0.2.70"
    lab.write("ghost.yml", "kind: Node\n\tmetadata: {}\n")
    wait_for("the place is named", lambda: "ghost.yml:2:1: found a tab" in one.log())
    assert any("ghost.yml:2:1: found a tab" in p["text"] for p in one.show("status")["problems"])
    for name in ("ghost.yaml", "ghost.yml"):
        lab.erase(name)
    wait_gateway(one, 213, None)
    wait_for("nothing is wrong", lambda: not one.show("status")["problems"])


# --- what is broken -------------------------------------------------------------------------------

def test_broken_syntax_is_placed_and_keeps_what_the_file_last_gave(lab, one):
    lab.write("breaks.json", ghost("ghost-g", 206, "192.0.2.57"))
    wait_gateway(one, 206, "192.0.2.57")
    lab.write("breaks.json", '[\n  {"kind": "Node",\n   "metadata": oops}\n]\n')
    wait_for("the place is logged", lambda: "breaks.json:3:16" in one.log())
    lab.write("other.json", ghost("ghost-h", 207, "192.0.2.58"))
    wait_gateway(one, 207, "192.0.2.58")
    assert gateway(one, 206) == "192.0.2.57"
    assert one.show("status")["ready"]
    lab.write("breaks.json", ghost("ghost-g", 206, "192.0.2.59"))
    wait_gateway(one, 206, "192.0.2.59")
    for name in ("breaks.json", "other.json"):
        lab.erase(name)
    wait_gateway(one, 206, None)


def test_broken_file_at_the_start_keeps_nobody_from_becoming_ready(own_lab):
    own_lab.write("breaks.json", "{")
    own_lab.write("ghost.json", ghost("ghost", 200, "192.0.2.50"))
    node = own_lab.node().start(encapsulation="none")
    wait_gateway(node, 200, "192.0.2.50")
    pod = node.pod("p")
    assert ping(node, pod.v4)


def test_bad_object_is_named_and_the_others_of_its_file_change(lab, one):
    bad = block("10.42.209.0/26", "ghost-j")
    bad["spec"]["cidr"] = "10.42.209.0/99"
    lab.write("bad.json", [*ghost("ghost-i", 208, "192.0.2.60"), node_object("ghost-j", "192.0.2.61/24"), bad])
    wait_gateway(one, 208, "192.0.2.60")
    assert gateway(one, 209) is None
    log = one.log()
    assert "bad.json" in log and "spec.cidr" in log
    lab.erase("bad.json")
    wait_gateway(one, 208, None)


def test_bad_object_keeps_its_last_good_state(own_lab):
    node = own_lab.node().start(encapsulation="none")
    own_lab.write("ghost.json", ghost("ghost", 210, "192.0.2.62"))
    wait_gateway(node, 210, "192.0.2.62")
    broken = ghost("ghost", 210, "192.0.2.999")
    broken[1]["spec"]["cidr"] = "nonsense"
    own_lab.write("ghost.json", broken)
    wait_for("the object is named", lambda: "ghost.json" in node.log())
    assert gateway(node, 210) == "192.0.2.62"
    own_lab.erase("ghost.json")
    wait_gateway(node, 210, None)


def test_bad_object_keeps_its_last_good_state_across_a_restart(own_lab):
    node = own_lab.node().start(encapsulation="none")
    own_lab.write("ghost.json", ghost("ghost", 210, "192.0.2.62"))
    wait_gateway(node, 210, "192.0.2.62")
    own_lab.write("ghost.json", ghost("ghost", 210, "192.0.2.999"))
    wait_for("the object is named", lambda: "ghost.json" in node.log())
    node.restart()
    assert gateway(node, 210) == "192.0.2.62"


def test_file_that_breaks_while_no_agent_runs_is_as_it_last_was(own_lab):
    node = own_lab.node().start(encapsulation="none")
    own_lab.write("ghost.json", ghost("ghost", 210, "192.0.2.62"))
    own_lab.write("other.yaml", json.dumps(ghost("other", 211, "192.0.2.63")))
    wait_gateway(node, 210, "192.0.2.62")
    wait_gateway(node, 211, "192.0.2.63")
    node.kill()
    own_lab.write("ghost.json", [node_object("ghost", "192.0.2.999/24"), block("10.42.210.0/26", "ghost")])
    own_lab.write("other.yaml", "kind: [")
    node.start()
    assert gateway(node, 210) == "192.0.2.62"
    assert gateway(node, 211) == "192.0.2.63"
    assert len(node.show("status")["problems"]) == 2


def small_disk(path, size="256k"):
    run(["mount", "-t", "tmpfs", "-o", "size=%s" % size, "none", str(path)])


def fill(path):
    with open(path / "fill", "wb", buffering=0) as f, contextlib.suppress(OSError):
        while True:
            f.write(b"x" * 4096)


def problems(node):
    return " ".join(p["text"] for p in node.show("status")["problems"])


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_state_dir_that_takes_no_writes_is_a_problem_and_no_end(own_lab, how):
    node = own_lab.node()
    small_disk(node.dir / "state")
    try:
        if how == "full":
            fill(node.dir / "state")
        else:
            run(["mount", "-o", "remount,ro", str(node.dir / "state")])
        node.start(encapsulation="none")
        own_lab.write("ghost.json", ghost("ghost", 210, "192.0.2.62"))
        wait_gateway(node, 210, "192.0.2.62")
        wait_for("it is a problem", lambda: "last-good" in problems(node))
        own_lab.write("ghost.json", ghost("ghost", 210, "192.0.2.999"))
        wait_for("the object is named", lambda: "192.0.2.999" in node.log())
        assert gateway(node, 210) == "192.0.2.62"
        assert ping(node, node.pod("p").v4)
        if how == "full":
            (node.dir / "state" / "fill").unlink()
        else:
            run(["mount", "-o", "remount,rw", str(node.dir / "state")])
        own_lab.write("ghost.json", ghost("ghost", 210, "192.0.2.63"))
        wait_gateway(node, 210, "192.0.2.63")
        wait_for("it is none any more", lambda: "last-good" not in problems(node))
        assert list((node.dir / "state" / "last-good").iterdir()) == [node.dir / "state" / "last-good" / "ghost.json"]
    finally:
        node.end()
        run(["umount", str(node.dir / "state")])


def test_same_object_in_two_files_the_first_name_wins_and_the_other_shows_when_it_goes(lab, one):
    lab.write("b.json", ghost("ghost-k", 211, "192.0.2.63"))
    wait_gateway(one, 211, "192.0.2.63")
    lab.write("a.json", [node_object("ghost-k", "192.0.2.64/24")])
    wait_gateway(one, 211, "192.0.2.64")
    wait_for("both files are named", lambda: any("a.json" in line and "b.json" in line for line in one.log().splitlines()))
    lab.erase("a.json")
    wait_gateway(one, 211, "192.0.2.63")
    lab.erase("b.json")
    wait_gateway(one, 211, None)


# --- the folder and its disk -------------------------------------------------------------------------

def test_what_is_no_file_is_named_and_holds_up_nobody(own_lab):
    def put(name, make):
        make(own_lab.store / name)

    def big(path):
        with open(path, "wb") as f:
            f.truncate(64 << 20)
    put("fifo.yaml", os.mkfifo)
    put("folder.json", os.mkdir)
    put("loop.json", lambda path: path.symlink_to("loop.json"))
    put("zero.json", lambda path: path.symlink_to("/dev/zero"))
    put("gone.json", lambda path: path.symlink_to("nowhere.json"))
    put("big.json", big)
    own_lab.write("ghost.json", ghost("ghost", 210, "192.0.2.62"))
    node = own_lab.node().start(encapsulation="none")
    wait_gateway(node, 210, "192.0.2.62")
    named = {os.path.basename(p["text"].split(":")[0]): p["text"] for p in node.show("status")["problems"]}
    assert set(named) == {"fifo.yaml", "folder.json", "loop.json", "zero.json", "big.json"}
    assert "more than 4 MiB" in named["big.json"] and "not a file" in named["fifo.yaml"]
    for name in named:
        path = own_lab.store / name
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    wait_for("nothing is wrong", lambda: not node.show("status")["problems"])
    put("fifo.yaml", os.mkfifo)
    put("folder.json", os.mkdir)
    wait_for("both are named", lambda: len(node.show("status")["problems"]) == 2)


def test_file_that_is_not_whole_at_the_start_counts_when_it_is(own_lab):
    text = json.dumps(ghost("ghost", 210, "192.0.2.62"))
    node = own_lab.node()
    with open(own_lab.store / "ghost.json", "w") as f:
        f.write(text[:700])
        f.flush()
        node.start(encapsulation="none")
        assert gateway(node, 210) is None
        f.write(text[700:])
    wait_gateway(node, 210, "192.0.2.62")


def test_ten_thousand_files_are_read_in_no_time(own_lab):
    for i in range(10000):
        (own_lab.store / ("p-%05d.json" % i)).write_text(json.dumps(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p-%05d" % i, "labels": {"app": "a-%d" % (i % 50)}},
             "spec": {"nodeName": "ghost"}, "status": {"podIP": "10.99.%d.%d" % divmod(i, 250)}}))
    own_lab.write("zz.json", ghost("ghost", 210, "192.0.2.62"))
    node = own_lab.node()
    begun = time.monotonic()
    node.start(encapsulation="none")
    assert gateway(node, 210) == "192.0.2.62"
    assert time.monotonic() - begun < 4     # 0.4 s on an idle machine
    assert ping(node, node.pod("p").v4)     # while the last good states are written


@contextlib.contextmanager
def disk_of_its_own(path):
    small_disk(path)
    try:
        yield
    finally:
        run(["umount", "--lazy", str(path)])


def test_store_on_a_full_disk_is_named_and_goes_on_when_there_is_room(own_lab):
    with disk_of_its_own(own_lab.store):
        node = own_lab.node().start(encapsulation="none")
        pod = node.pod("p")
        fill(own_lab.store)
        late = node.new_pod("late")
        late.start_add().finish().refused(11, "No space left")
        assert "No space left" in problems(node)
        assert ping(node, pod.v4)
        pod.delete().ok()
        (own_lab.store / "fill").unlink()
        late.add()
        assert ping(node, late.v4)
        wait_for("nothing is wrong", lambda: not problems(node))
        node.end()


def test_read_only_store_is_read_and_its_pods_live(own_lab):
    with disk_of_its_own(own_lab.store):
        own_lab.write("ghost.json", ghost("ghost", 210, "192.0.2.62"))
        node = own_lab.node().start(encapsulation="none")
        pod = node.pod("p")
        node.end()
        run(["mount", "-o", "remount,ro", str(own_lab.store)])
        node.start()
        assert gateway(node, 210) == "192.0.2.62" and ping(node, pod.v4)
        late = node.new_pod("late")
        late.start_add().finish().refused(11, "Read-only")
        assert "Read-only" in problems(node)
        run(["mount", "-o", "remount,rw", str(own_lab.store)])
        late.add()
        wait_for("nothing is wrong", lambda: not problems(node))
        node.end()


def test_store_that_is_removed_and_made_again_is_waited_for(own_lab):
    own_lab.write("ghost.json", ghost("ghost", 210, "192.0.2.62"))
    node = own_lab.node().start(encapsulation="none")
    pod = node.pod("p")
    shutil.rmtree(own_lab.store)
    wait_for("it is away", lambda: node.show("status")["datastore"]["state"] == "away")
    node.new_pod("late").start_add().finish().refused(102, "the datastore is away")
    assert not [p for p in node.show("status")["problems"] if "temporarily" in p["text"]]
    own_lab.store.mkdir()           # an empty one is not believed: a disk may not be mounted
    own_lab.write("other.json", ghost("other", 211, "192.0.2.63"))
    time.sleep(1.2)
    assert node.show("status")["datastore"]["state"] == "away" and gateway(node, 211) is None
    assert ping(node, pod.v4) and node.show("status")["ready"]
    node.restart()                  # which says that it is meant
    wait_gateway(node, 211, "192.0.2.63")
    assert gateway(node, 210) is None and ping(node, pod.v4)
    assert node.pod("q").v4 != pod.v4


# --- users' files and agents' -----------------------------------------------------------------------

def test_users_node_gives_labels_and_the_agents_gives_addresses(lab, one):
    two = lab.node().start(encapsulation="none")
    pod = two.pod("merge")
    wait_for("the other node's pod answers", lambda: ping(one, pod.v4))
    lab.write("node.json", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": two.name, "labels": {"zone": "a"}}})
    lab.write("ghost.json", ghost("ghost-l", 212, "192.0.2.65"))
    wait_gateway(one, 212, "192.0.2.65")
    assert ping(one, pod.v4) and ping(one, pod.v6)
    block_routes = [r for r in one.routes(4, protocol=172).values() if r.get("gateway") == two.v4]
    assert len(block_routes) == 1
    for name in ("node.json", "ghost.json"):
        lab.erase(name)
    assert ping(one, pod.v4)
    pod.delete().ok()


def test_agent_that_joins_later_is_known_everywhere(own_lab):
    nodes = [own_lab.node().start(), own_lab.node().start()]
    pods = [n.pod("p-" + n.name) for n in nodes]
    third = own_lab.node().start()
    pods.append(third.pod("late"))
    for family in ("v4", "v6"):
        for a in pods:
            for b in pods:
                wait_for("%s reaches %s" % (a.name, b.name), lambda: ping(a, getattr(b, family)), timeout=3)
    assert set(own_lab.objects("nodes")) == {n.name for n in own_lab.nodes}


def test_pool_that_is_removed_gives_no_address_but_its_pods_stay(own_lab):
    pool = {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "mine"},
            "spec": {"cidr": "10.70.0.0/16", "ipipMode": "Never", "vxlanMode": "Never"}}
    own_lab.write("pool.json", pool)
    node = own_lab.node().start(pool=["10.42.0.0/16"])
    pod = node.pod("p")
    assert pod.v4.startswith("10.70.")
    assert "default-ipv4-ippool" not in own_lab.objects("ippools")
    own_lab.erase("pool.json")
    late = node.new_pod("late")
    wait_for("no pool, no address", lambda: late.start_add().finish().code == 1 or late.delete().ok() is None)
    assert ping(node, pod.v4)
    late.start_add().finish().refused(101, "no IPPool")
    assert [p["text"] for p in node.show("status")["problems"]] == ["no IPPool that this node may use"]
    own_lab.write("pool.json", pool)
    wait_for("nobody complains", lambda: not node.show("status")["problems"])
    wait_for("the pool is back", lambda: late.start_add().finish().code == 0)
    pod.delete().ok()


def test_pool_that_overlaps_an_earlier_name_is_refused_by_name(own_lab):
    def pool(name, cidr, **spec):
        return {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": name}, "spec": {"cidr": cidr, **spec}}
    own_lab.write("pools.json", [pool("b", "10.70.0.0/16"), pool("a", "10.70.128.0/17"), pool("tight", "10.71.0.0/28")])
    node = own_lab.node().start(pool=["10.42.0.0/16"])
    text = problems(node)
    assert "pool b (10.70.0.0/16) is not used: it overlaps pool a (10.70.128.0/17)" in text
    assert "pools.json" in text and "the pool is smaller than one block" in text
    assert ipaddress.ip_address(node.pod("p").v4) in ipaddress.ip_network("10.70.128.0/17")
    own_lab.write("pools.json", pool("b", "10.70.0.0/17"))
    wait_for("nothing is wrong", lambda: not problems(node))
    assert ipaddress.ip_address(node.pod("q").v4) in ipaddress.ip_network("10.70.0.0/17")


@pytest.mark.parametrize("text", ["", '{"apiVersion": "crd.projectcalico.org/v1", "kin'], ids=["empty", "torn"])
def test_torn_block_is_rebuilt_from_the_pods(own_lab, text):
    node = own_lab.node().start(encapsulation="none")
    pods = [node.pod("p-%d" % i) for i in range(3)]
    node.kill()
    for path in (own_lab.store / ".manx" / "ipamblocks").iterdir():
        path.write_text(text)
    node.start()
    more = node.pod("more")
    assert {more.v4, more.v6}.isdisjoint(a for p in pods for a in (p.v4, p.v6))
    for pod in [*pods, more]:
        assert ping(node, pod.v4) and ping(node, pod.v6)

    def whole():
        rows = node.show("ipam", "show")["blocks"]
        return sum(b["used"] for b in rows) == 8
    wait_for("every address is accounted for", whole)
    pods[0].delete().ok()
    assert sum(b["used"] for b in node.show("ipam", "show")["blocks"]) == 6


@pytest.mark.parametrize("plural", ["nodes", "ippools", "blockaffinities", "ipamhandles"])
def test_torn_object_of_ours_is_rebuilt(own_lab, plural):
    node = own_lab.node().start(encapsulation="none")
    pod = node.pod("p")
    wait_for("%s are written" % plural, lambda: own_lab.objects(plural))    # a handle follows its ADD
    node.end()
    paths = sorted((own_lab.store / ".manx" / plural).iterdir())
    before = {p.name: json.loads(p.read_text())["kind"] for p in paths}
    for path in paths:
        path.write_text("")
    node.start()

    def rebuilt():
        try:
            return before == {p.name: json.loads(p.read_text())["kind"]
                              for p in (own_lab.store / ".manx" / plural).iterdir() if not p.name.startswith(".")}
        except ValueError:
            return False
    wait_for("%s are whole again" % plural, rebuilt)
    assert ping(node, pod.v4)
    assert node.pod("q").v4 != pod.v4


@pytest.mark.parametrize("how", ["removed", "torn"])
def test_endpoint_that_somebody_removes_or_tears_is_published_again(own_lab, how):
    """By the node that has the pod, and while it runs: other nodes' policies go by it."""
    node, other = own_lab.node().start(encapsulation="none"), own_lab.node().start(encapsulation="none")
    pod = node.pod("p")
    path = own_lab.store / ".manx/workloadendpoints/default" / (
        "%s-k8s-p-eth0.json" % node.name.replace("-", "--"))
    wait_for("it is published", path.exists)
    if how == "removed":
        path.unlink()
    else:
        path.write_text("{")

    def whole():
        try:
            return json.loads(path.read_text())["spec"]["ipNetworks"][0] == pod.v4 + "/32"
        except (FileNotFoundError, ValueError):
            return False
    wait_for("it is published again", whole)
    pod.delete().ok()
    wait_for("it goes with the pod", lambda: not path.exists())
    time.sleep(0.1)
    assert not path.exists() and not other.show("status")["problems"]


def test_handle_that_no_block_knows_goes_when_any_agent_starts(own_lab):
    """As one is left by a borrower that is killed right after it gave its addresses back."""
    nodes = [own_lab.node().start(encapsulation="none") for _ in range(2)]
    pods = [n.pod("p-" + n.name) for n in nodes]
    handles = own_lab.store / ".manx/ipamhandles"
    kept = ["k8s-pod-network." + p.container for p in pods]
    wait_for("handles are written", lambda: {p.stem for p in handles.iterdir()} >= set(kept))
    stale = json.loads((handles / (kept[0] + ".json")).read_text())
    stale["metadata"]["name"] = stale["spec"]["handleID"] = "k8s-pod-network.stale"
    stale["spec"]["block"] = {b["spec"]["cidr"]: 1 for b in own_lab.objects("ipamblocks").values()}
    third = own_lab.node()
    (handles / "k8s-pod-network.stale.json").write_text(json.dumps(stale))
    third.start(encapsulation="none")
    wait_for("it is gone", lambda: not (handles / "k8s-pod-network.stale.json").exists())
    assert {p.stem for p in handles.iterdir()} >= set(kept)
    assert [n.show("ipam", "check") for n in nodes] == [{"leaked": [], "duplicate": []}] * 2


def test_versions_come_from_one_counter(own_lab):
    nodes = [own_lab.node().start(), own_lab.node().start()]
    for n in nodes:
        n.pod("p-" + n.name)
    versions = [int(o["metadata"]["resourceVersion"]) for plural in
                ("nodes", "ippools", "ipamblocks", "blockaffinities", "ipamhandles") for o in own_lab.objects(plural).values()]
    assert len(versions) >= 10 and len(set(versions)) == len(versions)

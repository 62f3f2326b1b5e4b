"""`manx uninstall`: what manx put on a node goes, whoever does it; what others put beside it stays."""
import json

import pytest

from lab import BINARY, PATH, ping, run, wait_for

FOREIGN_LIST = json.dumps({"cniVersion": "1.0.0", "name": "other", "plugins": [{"type": "bridge"}]})
TWINS = ["link add cali00000000000 type veth peer name foreign0", "link add manx0 type bridge",
         "link add vxlan.other type vxlan id 4097 dstport 4790", "link set manx0 up",
         "route add 10.42.200.0/26 dev manx0 proto 99", "route add 10.99.0.0/16 dev manx0 proto static",
         "route add blackhole 10.42.201.0/26 proto static"]


def uninstall(node, *args, **kw):
    """By hand, on the node."""
    return run(node.argv(BINARY, "uninstall", "--config", str(node.dir / "manx.conf"), *args), env={"PATH": PATH}, **kw)


def ask(node):
    p = node.manx("uninstall")
    assert node.process.wait(10) == 0
    node.process = None
    return p


def alone(node):
    node.kill()
    return uninstall(node)


def put_twins(node):
    node.batch(*TWINS)
    node.run("nft", "add table inet manx-other; add table ip manx; add chain ip manx c")
    (node.dir / "net.d" / "20-other.conflist").write_text(FOREIGN_LIST)
    (node.dir / "bin" / "other").write_text("a program")
    (node.dir / "run" / "others.file").write_text("x")
    (node.dir / "state" / "others.file").write_text("x")


def twins(node):
    """What put_twins() made, as it is now."""
    return {
        "links": sorted(set(node.links()) - {"lo", "eth0"}),
        "routes": sorted((r, row["protocol"]) for r, row in node.routes().items() if row.get("protocol") in ("99", "static", "4")),
        "tables": sorted(line for line in node.run("nft", "list", "tables").stdout.splitlines()),
        "files": sorted(str(p.relative_to(node.dir)) for d in ("net.d", "bin", "run", "state")
                        for p in (node.dir / d).rglob("*")),
    }


def assert_clean(node):
    rows = [r for f in (4, 6) for r in node.ip("-%d -N -d route show table all" % f)]
    assert [r for r in rows if str(r.get("protocol")) in ("171", "172")] == []
    assert [n for n, row in node.links().items() if row.get("ifalias", "").startswith("manx")] == []
    assert "vxlan.calico" not in node.links() and "vxlan-v6.calico" not in node.links()
    assert "inet manx\n" not in node.run("nft", "list", "tables").stdout


def objects_of(lab, node):
    """What the datastore says of a node."""
    return {
        "node": [n for n in lab.objects("nodes") if n == node.name],
        "blocks": [n for n, o in lab.objects("ipamblocks").items() if o["spec"]["affinity"] == "host:" + node.name],
        "affinities": [n for n, o in lab.objects("blockaffinities").items() if o["spec"]["node"] == node.name],
        "endpoints": [n for n, o in lab.objects("workloadendpoints").items() if o["spec"]["node"] == node.name],
        "handles": sorted(n for n, o in lab.objects("ipamhandles").items() if node.name in n or any(
            p.container in n for p in node.pods)),
    }


@pytest.mark.parametrize("remove", [ask, alone], ids=["agent", "alone"])
def test_all_of_ours_goes_and_nothing_else(own_lab, remove):
    node, other = own_lab.node(), own_lab.node()
    own_lab.write("users.json", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    put_twins(node)
    before = twins(node)
    node.start(encapsulation="vxlan"), other.start(encapsulation="vxlan")
    web, db = node.pod("web-0"), other.pod("db-0")
    node.pod("web-1", namespace="shop")
    wait_for("traffic across nodes", lambda: ping(web, db.v4) and ping(web, db.v6))
    wait_for("all is written", lambda: all(objects_of(own_lab, n)[k] for n in (node, other) for k in objects_of(own_lab, n)))
    theirs = objects_of(own_lab, other)
    assert other.routes(4, 172) and "vxlan.calico" in node.links()

    p = remove(node)
    assert p.stdout.splitlines()[-1] == "nothing of manx is on this node any more" and p.stderr == ""
    assert "2 pods" in p.stdout and "10-manx.conflist" in p.stdout and node.name in p.stdout
    assert_clean(node)
    assert twins(node) == before
    assert not any(objects_of(own_lab, node).values()), objects_of(own_lab, node)
    assert objects_of(own_lab, other) == theirs and (own_lab.store / "users.json").exists()
    assert set(own_lab.objects("ippools")) == {"default-ipv4-ippool", "default-ipv6-ippool"}
    wait_for("the other node has no route there any more",
             lambda: not [r for r in other.routes(4, 172).values() if r.get("dev") == "vxlan.calico"])
    assert ping(other, db.v4)

    again = uninstall(node)
    assert again.stdout == "nothing of manx is on this node any more\n" and again.stderr == ""
    assert twins(node) == before


def test_the_last_node_takes_the_agents_folder_along(own_lab):
    node = own_lab.node().start(encapsulation="none")
    node.pod("a")
    own_lab.write("users.json", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    assert "no node is left" in ask(node).stdout
    assert [p.name for p in own_lab.store.iterdir()] == ["users.json"]
    assert not (node.dir / "run").exists() and not (node.dir / "state").exists()


def test_node_can_be_installed_again(own_lab):
    node, other = own_lab.node().start(encapsulation="none"), own_lab.node().start(encapsulation="none")
    node.pod("a")
    ask(node)
    node.start()
    web, db = node.pod("b"), other.pod("c")
    wait_for("traffic", lambda: ping(web, db.v4))


def test_files_of_our_names_that_are_not_ours_stay(own_lab):
    node = own_lab.node()
    node.write_config(encapsulation="none")
    (node.dir / "net.d" / "10-manx.conflist").write_text(FOREIGN_LIST)
    (node.dir / "bin" / "manx").write_text("another program of that name")
    uninstall(node)
    assert (node.dir / "net.d" / "10-manx.conflist").read_text() == FOREIGN_LIST
    assert (node.dir / "bin" / "manx").read_text() == "another program of that name"
    elsewhere = {"type": "manx", "socket": "/run/another/manx.sock"}
    (node.dir / "net.d" / "10-manx.conflist").write_text(json.dumps({"plugins": [elsewhere]}))
    uninstall(node)
    assert (node.dir / "net.d" / "10-manx.conflist").exists(), "another agent's"
    assert not own_lab.store.joinpath(".manx").exists(), "no datastore is made in order to be left"


def test_link_of_our_name_that_is_not_ours_stays(own_lab):
    node = own_lab.node()
    node.batch("link add vxlan.calico type bridge")
    node.start(encapsulation="vxlan", pool=["10.42.0.0/16"])
    ask(node)
    assert node.links()["vxlan.calico"]["linkinfo"]["info_kind"] == "bridge"


def test_cleanup_of_the_agent_is_the_same(own_lab):
    node = own_lab.node().start(encapsulation="none")
    node.pod("a")
    node.end()
    p = run(node.argv(BINARY, "agent", "--cleanup", "--config", str(node.dir / "manx.conf")), env={"PATH": PATH})
    assert "1 pods" in p.stdout
    assert_clean(node)


def test_address_borrowed_from_another_nodes_block_is_given_back(own_lab):
    node = own_lab.node().start(encapsulation="none", pool=["10.42.0.0/24"])
    other = own_lab.node().start(encapsulation="none", pool=["10.42.0.0/24"])
    node.pod("a"), other.pod("b")
    name, = objects_of(own_lab, other)["blocks"]
    path = own_lab.store / ".manx" / "ipamblocks" / (name + ".json")
    block = json.loads(path.read_text())
    ordinal = block["spec"]["unallocated"].pop(0)
    block["spec"]["allocations"][ordinal] = len(block["spec"]["attributes"])
    block["spec"]["attributes"].append({"handle_id": "k8s-pod-network.b0", "secondary": {"node": node.name}})
    block["metadata"]["resourceVersion"] = str(int(block["metadata"]["resourceVersion"]) + 1000)
    (own_lab.dir / "edited").write_text(json.dumps(block))
    (own_lab.dir / "edited").rename(path)
    wait_for("it is seen", lambda: sum(b["used"] for b in node.show("ipam", "show")["blocks"]) == 3)
    ask(node)
    spec = json.loads(path.read_text())["spec"]
    assert [a["secondary"]["node"] for a in spec["attributes"]] == [other.name]


def test_datastore_that_is_away_keeps_its_objects_and_exits_7(own_lab):
    node = own_lab.node().start(encapsulation="none")
    node.pod("a")
    away = own_lab.dir / "store-away"
    own_lab.store.rename(away)
    try:
        wait_for("it is away", lambda: node.show("status")["datastore"]["state"] == "away")
        p = node.manx("uninstall", check=False)
        assert p.returncode == 7 and "away" in p.stderr and "any more" not in p.stdout
        assert node.process.wait(10) == 0, "a supervisor must not start it again"
        assert_clean(node)
    finally:
        away.rename(own_lab.store)
    assert objects_of(own_lab, node)["node"] == [node.name]
    assert uninstall(node).returncode == 0
    assert not own_lab.objects("nodes")


def test_only_root_may(own_lab):
    node = own_lab.node()
    node.write_config()
    own_lab.dir.chmod(0o755)
    p = run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BINARY, "uninstall", "--config",
             str(node.dir / "manx.conf")], check=False, env={"PATH": PATH})
    assert p.returncode == 4 and "root" in p.stderr and p.stdout == ""


def test_socket_that_was_named_must_answer(tmp_path):
    """Then it is that agent's node that is meant, not this machine."""
    p = run([BINARY, "uninstall", "--socket", str(tmp_path / "manx.sock")], check=False, env={"PATH": PATH})
    assert p.returncode == 3 and "manx.sock" in p.stderr

"""`manx check`, `get`, `apply` and `delete` on the file datastore."""
import json
import os

import pytest

from lab import BINARY, PATH, run, wait_for

POOL = {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "extra"},
        "spec": {"cidr": "10.77.0.0/24", "ipipMode": "Never", "vxlanMode": "Never", "disabled": True}}
YAML = """\
# two of them
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: blue}}
---
apiVersion: v1
kind: Pod
metadata:
  name: db-0
  namespace: shop
status:
  phase: Running
"""


def pod(name, **metadata):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": {"nodeName": "edge-1"}}


@pytest.fixture(scope="module")
def node(lab):
    return lab.node().start(encapsulation="none")


@pytest.fixture
def file(tmp_path):
    """Writes a file and returns its path; what is not a text becomes JSON."""
    def write(content, name="objects.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return str(path)
    return write


@pytest.fixture(autouse=True)
def cleared(lab):
    """What a test put into the folder goes."""
    yield
    for path in lab.store.iterdir():
        if path.is_file():
            path.unlink()


def names(node, *args):
    return [o["metadata"]["name"] for o in node.show("get", *args)["items"]]


def alone(*argv, **kw):
    return run([BINARY, *argv], check=False, env={"PATH": PATH}, **kw)


# --- get ------------------------------------------------------------------------------------------

def test_get_shows_what_users_and_agents_wrote(lab, node):
    lab.write("a.json", [pod("web-0"), pod("web-1", namespace="shop", annotations={"my/note": "kept"})])
    wait_for("they are read", lambda: len(names(node, "pods")) == 2)
    whole = node.show("get", "pods")
    assert whole["kind"] == "List" and whole["apiVersion"] == "v1"
    assert [(o["metadata"]["namespace"], o["metadata"]["name"]) for o in whole["items"]] == \
        [("default", "web-0"), ("shop", "web-1")]
    assert whole["items"][1]["metadata"]["annotations"] == {"my/note": "kept"}, "as the user gave it"
    assert names(node, "pod", "-n", "shop") == ["web-1"] and names(node, "Pods", "-n", "none") == []
    assert node.show("get", "nodes", node.name)["metadata"]["name"] == node.name
    assert sorted(names(node, "ippools.crd.projectcalico.org")) == ["default-ipv4-ippool", "default-ipv6-ippool"]
    assert node.show("get", "ippool", "default-ipv4-ippool")["spec"] == lab.objects("ippools")["default-ipv4-ippool"]["spec"]


def test_get_of_a_node_has_both_halves(lab, node):
    lab.write("node.json", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "labels": {"zone": "a"}}})
    meta = wait_for("the label is there", lambda: (lambda m: m.get("labels") and m)(
        node.show("get", "node", node.name)["metadata"]))
    assert meta["labels"]["zone"] == "a" and meta["annotations"]["projectcalico.org/IPv4Address"] == node.v4 + "/24"


def test_get_of_what_is_bad_now_shows_what_it_was(lab, node):
    lab.write("a.json", [pod("web-0", labels={"app": "web"}), pod("web-1")])
    wait_for("they are read", lambda: len(names(node, "pods")) == 2)
    for text in "{broken", json.dumps([{**pod("web-0"), "status": {"phase": 7}}, pod("web-1")]):
        lab.write("a.json", text)
        wait_for("it is seen", lambda: node.show("status")["problems"])
        assert node.show("get", "pod", "web-0")["metadata"]["labels"] == {"app": "web"}
        assert names(node, "pods") == ["web-0", "web-1"]


def test_get_for_people_is_a_table(lab, node):
    lab.write("a.json", {**pod("web-0"), "status": {"phase": "Running", "podIP": "10.42.0.9"}})
    wait_for("it is read", lambda: names(node, "pods"))
    head, row = node.manx("get", "pods").stdout.splitlines()
    assert head.split() == ["NAMESPACE", "NAME", "PHASE", "NODE", "ADDRESS"]
    assert row.split() == ["default", "web-0", "Running", "edge-1", "10.42.0.9"]
    assert node.v4 + "/24" in node.manx("get", "nodes").stdout
    assert node.manx("get", "pods", "-n", "none").stdout == ""


@pytest.mark.parametrize("argv,code,word", [
    (["pods", "web-0"], 1, "web-0"), (["pods", "db-0", "-n", "shop"], 1, "db-0"), (["nodes", "nobody"], 1, "nobody"),
    (["gadgets"], 2, "gadgets"), (["pods.apps"], 2, "pods.apps"), ([], 2, "KIND"), (["pods", "a", "b"], 2, "b")],
    ids=str)
def test_get_of_what_is_not_there(node, argv, code, word):
    p = node.manx("get", *argv, check=False)
    assert p.returncode == code and word in p.stderr and p.stdout == ""


# --- apply and delete -----------------------------------------------------------------------------

def test_apply_creates_configures_and_leaves_alone(lab, node, file):
    assert node.manx("apply", "-f", file(POOL)).stdout == "ippool/extra created\n"
    path = lab.store / "ippools.crd.projectcalico.org__extra.json"
    assert json.loads(path.read_text()) == POOL
    assert node.show("get", "ippools", "extra")["spec"] == POOL["spec"]
    assert node.manx("apply", "-f", file(POOL)).stdout == "ippool/extra unchanged\n"
    changed = {**POOL, "spec": {**POOL["spec"], "natOutgoing": True}}
    assert node.manx("apply", "-f", file(changed)).stdout == "ippool/extra configured\n"
    assert node.show("get", "ippools", "extra")["spec"]["natOutgoing"] is True
    assert node.manx("delete", "-f", file(POOL)).stdout == "ippool/extra deleted\n"
    assert not path.exists() and "extra" not in names(node, "ippools")


def test_apply_takes_yaml_lists_and_stdin(lab, node, file):
    p = node.manx("apply", "-f", file(YAML, "shop.yaml"))
    assert p.stdout == "namespace/shop created\npod/db-0 created\n"
    assert sorted(f.name for f in lab.store.glob("*.json")) == ["namespaces__shop.json", "pods_shop_db-0.json"]
    p = node.manx("apply", "-f", file({"apiVersion": "v1", "kind": "List", "items": [pod("web-0"), pod("web-1")]}))
    assert p.stdout == "pod/web-0 created\npod/web-1 created\n"
    assert node.show("get", "pod", "web-1")["metadata"]["namespace"] == "default"
    assert node.manx("apply", "-f", "-", input=YAML).stdout == "namespace/shop unchanged\npod/db-0 unchanged\n"
    assert node.manx("delete", "-f", "-", input=YAML).stdout == "namespace/shop deleted\npod/db-0 deleted\n"
    assert names(node, "pods") == ["web-0", "web-1"]


def test_apply_of_what_get_printed_changes_nothing(node, file):
    node.manx("apply", "-f", file([pod("web-0"), pod("web-1", namespace="shop")]))
    p = node.manx("apply", "-f", file(node.manx("get", "pods", "-o", "json").stdout))
    assert p.stdout == "pod/web-0 unchanged\npod/web-1 unchanged\n"


def test_what_was_applied_is_in_the_kernel(own_lab, file):
    node = own_lab.node().start(encapsulation="none", pool=["10.42.0.0/16"])
    node.pod("a")
    assert "masquerade" in node.run("nft", "list", "table", "inet", "manx").stdout
    pool = node.show("get", "ippool", "default-ipv4-ippool")
    pool["spec"]["natOutgoing"] = False
    assert node.manx("apply", "-f", file(pool)).stdout == "ippool/default-ipv4-ippool configured\n"
    assert "masquerade" not in node.run("nft", "list", "table", "inet", "manx").stdout
    assert node.manx("delete", "-f", file(pool)).returncode == 0
    assert "masquerade" in node.run("nft", "list", "table", "inet", "manx").stdout, "the agents' own shows again"


def test_a_file_is_taken_whole_or_not_at_all(lab, node, file):
    path = file([pod("good"), pod("BAD NAME")])
    p = node.manx("apply", "-f", path, check=False)
    assert p.returncode == 5 and p.stdout == ""
    line = next(i for i, text in enumerate(open(path).read().splitlines(), 1) if "BAD NAME" in text)
    assert p.stderr.startswith("%s:%d:" % (path, line)) and len(p.stderr.splitlines()) == 1
    assert names(node, "pods") == [] and not list(lab.store.glob("*.json"))


@pytest.mark.parametrize("text,place,word", [
    ('{"apiVersion": "v1",\n "kind": }', "2:10: ", ""),
    ("", "1:", ""),
    ("[]", "1:1: ", "no objects"),
    ('[\n  {"apiVersion": "apps/v1", "kind": "Gadget", "metadata": {"name": "x"}}]', "2:3: ", "Gadget"),
    ('{"apiVersion": "crd.projectcalico.org/v1", "kind": "IPAMHandle", "metadata": {"name": "h"},'
     ' "spec": {"handleID": "h", "block": {}}}', "1:1: ", "only agents"),
    ("kind: Pod\n  bad: indent\n", "2:", "")], ids=["json", "empty", "none", "kind", "agents", "yaml"])
def test_apply_refuses_with_a_place(node, file, text, place, word):
    path = file(text, "in")
    p = node.manx("apply", "-f", path, check=False)
    assert p.returncode == 5 and p.stdout == ""
    assert p.stderr.startswith("%s:%s" % (path, place)) and word in p.stderr


def test_object_of_another_file_is_not_overruled(lab, node, file):
    lab.write("all.json", [pod("web-0")])
    wait_for("it is read", lambda: names(node, "pods"))
    for verb in ("apply", "delete"):
        p = node.manx(verb, "-f", file([pod("web-0", labels={"a": "b"}), pod("web-1")]), check=False)
        assert p.returncode == 1 and "pod/web-0" in p.stderr and "all.json" in p.stderr
        assert "pod/web-1" in p.stdout
    assert [f.name for f in lab.store.glob("*.json")] == ["all.json"]


def test_delete_of_what_is_not_there(node, file):
    node.manx("apply", "-f", file([pod("web-0")]))
    p = node.manx("delete", "-f", file([pod("nobody"), pod("web-0")]), check=False)
    assert p.returncode == 1 and p.stderr == "manx: pod/nobody not found\n" and p.stdout == "pod/web-0 deleted\n"


def test_delete_of_a_node_that_left(own_lab, file):
    """Its Node object is an agent's; then its addresses are nobody's."""
    node = own_lab.node().start(pool=["10.42.0.0/24"], encapsulation="none")
    other = own_lab.node().start(pool=["10.42.0.0/24"])
    other.pod("b")
    other.end()
    gone = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": other.name}}
    assert node.manx("delete", "-f", file(gone)).stdout == "node/%s deleted\n" % other.name
    assert other.name not in own_lab.objects("nodes")
    p = node.manx("ipam", "check", "-o", "json", check=False)
    assert [f["node"] for f in json.loads(p.stdout)["leaked"]] == [other.name]


@pytest.mark.parametrize("argv", [["apply"], ["delete"], ["apply", "-f"], ["apply", "-f", "x", "y"],
                                  ["apply", "-f", "x", "-o", "json"], ["get", "pods", "-n"], ["check"],
                                  ["get"], ["explain", "a", "b"], ["ipam", "release"]], ids=" ".join)
def test_wrong_usage(argv):
    p = alone(*argv)
    assert p.returncode == 2 and p.stderr and p.stdout == ""


@pytest.mark.parametrize("argv", [["apply", "-f", "absent.json"], ["delete", "-f", "absent.json"], ["check", "absent.json"],
                                  ["check", "absent.conf"]], ids=" ".join)
def test_missing_file(tmp_path, argv):
    p = alone(*argv, cwd=tmp_path)
    assert p.returncode == 5 and argv[-1] in p.stderr and "No such file" in p.stderr


def test_without_an_agent_exit_3(tmp_path, file):
    for argv in (["get", "pods"], ["apply", "-f", file(POOL)], ["delete", "-f", file(POOL)]):
        p = alone(*argv, "--socket", str(tmp_path / "manx.sock"))
        assert p.returncode == 3 and "manx.sock" in p.stderr and p.stdout == ""


def test_whoever_is_not_root_exits_4(lab, node, file):
    path = file(POOL)
    os.chmod(path, 0o600)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    lab.dir.chmod(0o755)
    for argv in (["get", "pods"], ["status"], ["ipam", "check"]):
        p = run([*nobody, BINARY, *argv, "--socket", node.socket_path], check=False, env={"PATH": PATH})
        assert p.returncode == 4 and "ermission" in p.stderr and p.stdout == ""


def test_datastore_that_is_away_exits_7(own_lab, file):
    node = own_lab.node().start(encapsulation="none")
    away = own_lab.dir / "store-away"
    own_lab.store.rename(away)
    try:
        wait_for("it is away", lambda: node.show("status")["datastore"]["state"] == "away")
        for verb in ("apply", "delete"):
            p = node.manx(verb, "-f", file(POOL), check=False)
            assert p.returncode == 7 and "away" in p.stderr and p.stdout == ""
        assert names(node, "nodes") == [node.name], "what is known is shown"
    finally:
        away.rename(own_lab.store)


# --- check ----------------------------------------------------------------------------------------

def test_check_of_good_files(file):
    p = alone("check", file(YAML, "shop.yaml"), file([POOL, pod("a")]), file("pool = 10.0.0.0/8\n", "manx.conf"))
    assert (p.returncode, p.stdout, p.stderr) == (0, "files 3, objects in order 4, ignored 0, errors 0\n", "")
    p = alone("check", "-", "-o", "json", input=YAML)
    assert json.loads(p.stdout) == {"files": 1, "objects": 2, "ignored": 0, "errors": []}


def test_check_of_the_shipped_configuration():
    from lab import ROOT
    assert alone("check", str(ROOT / "config" / "manx.conf")).returncode == 0


@pytest.mark.parametrize("name,text,place", [
    ("a.json", '{"apiVersion": "v1",\n "kind": }', ":2:10: "),
    ("a.yaml", "kind: Pod\nkind: Node\n", ":2:1: "),
    ("a.json", '[\n {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "A"}}]', ":2:59: "),
    ("a.yml", "apiVersion: crd.projectcalico.org/v1\nkind: IPPool\nmetadata: {name: x}\nspec:\n  cidr: ten\n", ":5:9: "),
    ("manx.conf", "log_level = info\nfrobnicate = yes\n", ":2: "),
    ("manx.conf", "block_size = 20\npool = 10.0.0.0/24\n", ":")],
    ids=["syntax", "yaml-twice", "name", "yaml-field", "key", "whole"])
def test_check_names_the_place(file, name, text, place):
    path = file(text, name)
    p = alone("check", path, "-o", "json")
    assert p.returncode == 5
    error, = json.loads(p.stdout)["errors"]
    assert error.startswith(path + place), error
    assert p.stderr == error + "\n"


def test_check_names_each_error_of_each_file(file):
    p = alone("check", file("one = 1\ntwo = 2\n", "a.conf"), file([pod("A"), pod("ok"), pod("B")], "b.json"))
    assert p.returncode == 5 and len(p.stderr.splitlines()) == 4
    assert p.stdout == "files 2, objects in order 0, ignored 0, errors 4\n"


def test_check_names_an_object_that_is_there_twice(file):
    path = file([pod("a"), pod("a", namespace="default")])
    p = alone("check", path)
    assert p.returncode == 5 and "default/a" in p.stderr and "named before" in p.stderr
    assert int(p.stderr[len(path) + 1:].split(":")[0]) > 2


def test_check_names_an_object_of_a_kind_that_is_not_ours(file):
    path = file([pod("a"), {**pod("b"), "kind": "Pood"}])
    p = alone("check", path)
    assert (p.returncode, p.stdout) == (0, "files 1, objects in order 1, ignored 1, errors 0\n")
    assert p.stderr.startswith(path + ":") and p.stderr.endswith(": kind Pood (v1) is not used by this version: ignored\n")
    assert json.loads(alone("check", path, "-o", "json").stdout)["ignored"] == 1


def test_check_says_what_is_not_built(file):
    p = alone("check", file("bgp = mesh\n", "manx.conf"))
    assert p.returncode == 2 and "not in this version" in p.stderr

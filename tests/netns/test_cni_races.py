"""Calls of one container that meet, plugins and agents that die at every point, notes and names of any kind.

The datastore's lock, held here, keeps an ADD in the middle: its address cannot be written.
"""
import contextlib
import fcntl
import json
import os
import random
import signal
import time

import pytest

from lab import container_id, ping, wait_for
from tracing import inject, tracer_of


@pytest.fixture(scope="module")
def one(lab):
    return lab.node().start()


@pytest.fixture(scope="module")
def stays(one):
    """A pod that nothing here may harm."""
    pod = one.pod("stays")
    wait_for("its handle", lambda: "k8s-pod-network." + pod.container in one.objects("ipamhandles"))
    return pod


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """After each test on the shared node: the addresses, links, routes and notes of before."""
    if "one" not in request.fixturenames:
        yield
        return
    one, stays = request.getfixturevalue("one"), request.getfixturevalue("stays")
    before = state(one)
    yield
    wait_for("what it was before: %s, not %s" % (before, state(one)), lambda: state(one) == before)
    assert ping(one, stays.v4) and ping(one, stays.v6)
    stays.check().ok()


def used(node):
    return sum(b["used"] for b in node.show("ipam", "show")["blocks"])


def notes(node):
    folder = node.dir / "run" / "del"
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) if folder.exists() else []


def state(node):
    status = node.show("status")
    return {"used": used(node), "pods": status["cni"]["pods"], "links": sorted(node.host_links()),
            "routes": sorted([*node.routes(4, protocol=171), *node.routes(6, protocol=171)]), "notes": notes(node),
            "handles": sorted(node.objects("ipamhandles")), "problems": status["problems"]}


@contextlib.contextmanager
def locked(lab):
    with open(lab.store / ".manx" / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        fcntl.flock(lock, fcntl.LOCK_UN)


def under_way(*calls):
    time.sleep(0.2)
    for call in calls:
        assert call.process.poll() is None, "it did not wait"


def works(node, pod):
    return ping(node, pod.v4) and ping(node, pod.v6) and pod.check().code == 0


# --- calls of one container -----------------------------------------------------------------------

def test_two_adds_at_once_are_one(one, stays):
    before = used(one)
    for i in range(5):
        pod = one.new_pod("twin-%d" % i)
        answers = [call.finish().ok() for call in [pod.start_add() for _ in range(4)]]
        assert len({json.dumps(a.json) for a in answers}) == 1
        pod.added(answers[0])
        assert used(one) == before + 2
        assert len([a for a in pod.ip("addr show dev eth0")[0]["addr_info"] if a["scope"] == "global"]) == 2
        assert works(one, pod)
        pod.delete().ok()
        assert used(one) == before


def test_two_adds_that_wait_for_the_datastore_are_one(lab, one, stays):
    before, pod = used(one), one.new_pod("waiting-twin")
    with locked(lab):
        calls = [pod.start_add() for _ in range(3)]
        under_way(*calls)
    answers = [c.finish().ok() for c in calls]
    assert len({json.dumps(a.json) for a in answers}) == 1
    assert used(one) == before + 2
    assert works(one, pod.added(answers[0]))
    pod.delete().ok()


def test_del_ends_an_add_that_is_under_way(lab, one, stays):
    pod = one.new_pod("deleted-meanwhile")
    with locked(lab):
        call = pod.start_add()
        under_way(call)
        gone = pod.delete()
        gone.ok()
        assert gone.ms < 2000, "it waited for the ADD"
        call.finish().refused(11, "deleted")
    time.sleep(0.2)
    assert "eth0" not in pod.links()


def test_del_ends_an_add_that_waits_for_another(lab, one, stays):
    pod = one.new_pod("deleted-in-the-queue")
    with locked(lab):
        calls = [pod.start_add(), pod.start_add()]
        under_way(*calls)
        pod.delete().ok()
        for call in calls:
            call.finish().refused(11, "deleted")


def test_add_after_an_add_that_was_killed(lab, one, stays):
    before, pod = used(one), one.new_pod("second-try")
    with locked(lab):
        first = pod.start_add()
        under_way(first)
        first.kill()
        second = pod.start_add()
        under_way(second)
    pod.added(second.finish())
    time.sleep(0.3)
    assert works(one, pod)
    wait_for("the first one's addresses are given back", lambda: used(one) == before + 2)
    pod.delete().ok()


def edit_block(lab, change):
    """As another node writes them, under the lock that is held here: the counter moves on, a new file takes the place."""
    counter = lab.store / ".manx" / "lock"
    for path in (lab.store / ".manx" / "ipamblocks").glob("10-*.json"):      # the one that is written last
        block, version = json.loads(path.read_text()), int(counter.read_text()) + 1
        change(block["spec"])
        block["metadata"]["resourceVersion"] = str(version)
        with open(counter, "r+") as f:
            f.write("%020d\n" % version)
        new = lab.store / ".manx" / "tmp" / "edit"
        new.write_text(json.dumps(block, separators=(",", ":")) + "\n")
        new.rename(path)


def take_next(spec):
    spec["allocations"][spec["unallocated"].pop(0)] = len(spec["attributes"])
    spec["attributes"].append({"handle_id": "somebody-else", "secondary": {}})


def give_back(spec):
    attribute = [a["handle_id"] for a in spec["attributes"]].index("somebody-else")
    ordinal = spec["allocations"].index(attribute)
    spec["allocations"] = [None if a == attribute else a - (a is not None and a > attribute) if a is not None else None
                           for a in spec["allocations"]]
    spec["attributes"].pop(attribute)
    spec["unallocated"].append(ordinal)


@pytest.mark.parametrize("change", [lambda spec: None, take_next], ids=["wrote its block", "took its address"])
def test_add_whose_block_another_node_changed_meanwhile(lab, one, stays, change):
    """The link is made while the block is written: here for an address that it does not get."""
    pod = one.new_pod("overtaken")
    with locked(lab):
        call = pod.start_add()
        under_way(call)
        edit_block(lab, change)
    pod.added(call.finish().ok())
    try:
        assert works(one, pod)
        assert len([a for a in pod.ip("addr show dev eth0")[0]["addr_info"] if a["scope"] == "global"]) == 2
        assert not [line for line in one.log().splitlines() if "level=err" in line]
    finally:
        pod.delete().ok()
        if change is take_next:
            wait_for("it is given back", lambda: pod.host_if not in one.links())
            with locked(lab):
                edit_block(lab, give_back)


def test_add_after_a_del_that_waits_for_the_datastore(lab, one, stays):
    before, pod = used(one), one.pod("second-life")
    with locked(lab):
        pod.delete().ok()
        call = pod.start_add()
        under_way(call)
    pod.added(call.finish())
    time.sleep(0.3)
    assert used(one) == before + 2
    assert works(one, pod)
    pod.delete().ok()


@pytest.mark.parametrize("again", ["the same container", "another container"])
def test_add_right_after_del_in_the_same_namespace(one, stays, again):
    """The old link still waits for its deletion."""
    pod = one.pod("phoenix")
    for i in range(5):
        pod.delete().ok()
        if again == "another container":
            pod.container = container_id("phoenix %d" % i)
        pod.add()
        assert works(one, pod)
    time.sleep(0.7)     # what the reaper still had
    assert works(one, pod)
    pod.delete().ok()


def test_add_again_that_is_killed_leaves_the_pod(one, stays):
    before = one.links()[stays.host_if]["ifindex"]
    for delay in (0, 0.05):
        one.process.send_signal(signal.SIGSTOP)
        try:
            call = stays.start_add()
            time.sleep(0.3)
            call.kill()
        finally:
            one.process.send_signal(signal.SIGCONT)
        time.sleep(delay)
        assert works(one, stays)
    time.sleep(0.7)
    assert one.links()[stays.host_if]["ifindex"] == before


def test_add_that_is_killed_before_it_is_read_leaves_nothing(one, stays):
    pod = one.new_pod("unread")
    one.process.send_signal(signal.SIGSTOP)
    try:
        call = pod.start_add()
        time.sleep(0.3)
        call.kill()
    finally:
        one.process.send_signal(signal.SIGCONT)
    time.sleep(0.3)
    wait_for("its link is gone", lambda: pod.host_if not in one.links())


def test_index_of_another_link_is_not_taken(one, stays):
    """ADD gives the next link the next index; a link that has it already must not be touched."""
    pod = one.pod("counter")
    index = one.links()[pod.host_if]["ifindex"]
    pod.delete().ok()
    one.batch(*("link add mine%d index %d type veth peer name theirs%d" % (i, index + i, i) for i in (1, 2, 3)))
    before = {i: one.ip("-d addr show dev mine%d" % i) for i in (1, 2, 3)}
    try:
        pod.add()
        assert works(one, pod)
        assert {i: one.ip("-d addr show dev mine%d" % i) for i in (1, 2, 3)} == before
        assert not one.ip("neigh show dev mine1")
    finally:
        one.batch(*("link del mine%d" % i for i in (1, 2, 3)))
    pod.delete().ok()


def test_add_that_the_pass_refuses_is_undone_whole(own_lab):
    """A foreign route has the pod's place; afterwards nobody wants the route any more."""
    node = own_lab.node().start(pool=["10.99.0.0/30"], block_size=30, encapsulation="none")
    addresses = ["10.99.0.%d" % i for i in range(4)]
    node.batch(*("route add %s dev eth0 metric 1024 proto static" % a for a in addresses))
    pod = node.new_pod("refused")
    pod.start_add().finish().refused(5, "10.99.0.")
    wait_for("the address is given back", lambda: used(node) == 0)
    wait_for("the link is gone", lambda: not node.host_links())
    assert not [r for r in node.show("routes")["routes"] if r["protocol"] == 171], "a route is wanted still"
    node.batch(*("route del %s dev eth0 metric 1024 proto static" % a for a in addresses))
    wait_for("no problem is left", lambda: not node.show("status")["problems"])
    pod.add()
    assert ping(node, pod.v4)


def test_storm_of_calls_ends_with_nothing(one, stays):
    """Eight containers, ADDs, DELs and kills at once; then a DEL each."""
    seed = 20260731
    print("seed", seed)
    dice, pods, calls = random.Random(seed), [one.new_pod("storm-%d" % i) for i in range(8)], []
    for _ in range(120):
        pod = dice.choice(pods)
        if dice.random() < 0.6:
            calls.append(pod.start_add())
        else:
            calls.append(pod.start_delete())
        if dice.random() < 0.25:
            dice.choice(calls[-6:]).process.kill()
        time.sleep(dice.random() * 0.02)
    for call in calls:
        answer = call.finish()
        assert answer.code in (0, 1, -signal.SIGKILL), answer.err
        if answer.code == 1:
            answer.refused(11, "deleted")
    for pod in pods:
        pod.delete().ok()


# --- death ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call,error", [("sendto", "ENOBUFS"), ("recvmsg", "ENOBUFS"), ("write", "ENOSPC")])
def test_failing_system_call_of_the_agent_undoes_an_add(one, stays, call, error):
    """The n-th such call of an ADD fails, for n from 1 until none does."""
    pod, failed = one.new_pod("failing-" + call), 0
    for n in range(1, 16):
        with one.traced(*inject(call, "error=" + error, n)):
            answer = pod.start_add().finish()
        if answer.code:
            failed += 1
            assert answer.json["code"] in (5, 8, 11, 102), answer.json
            wait_for("nothing of it is left in the pod (%s %d: %s)" % (call, n, answer.json["msg"]),
                     lambda: "eth0" not in pod.links())
        else:
            wait_for("the pod works (%s %d)" % (call, n), lambda: works(one, pod.added(answer)))
        pod.delete().ok()
    assert failed or call == "write", "strace made nothing fail"


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGKILL])
def test_agent_that_ends_with_calls_under_way(own_lab, signo):
    node = own_lab.node().start()
    left, stays = node.pod("left"), node.pod("stays")
    new = node.new_pod("new")
    with locked(own_lab):
        call = new.start_add()
        under_way(call)
        left.delete().ok()
        assert left.container in json.dumps(own_lab.objects("ipamblocks")), "the addresses could be given back"
        node.end(signo)
        call.finish().refused(11)
    node.start()
    wait_for("addresses are given back", lambda: used(node) == 2)
    wait_for("links are gone", lambda: set(node.host_links()) == {stays.host_if})
    assert not notes(node)
    assert works(node, stays)
    new.add()
    assert works(node, new)


# --- notes ----------------------------------------------------------------------------------------

def test_note_that_an_agent_just_missed_is_done_all_the_same(own_lab):
    """The plugin found no agent; while it writes its note, one starts and looks for notes."""
    node = own_lab.node().start()
    pod = node.pod("missed")
    node.stop()
    call = pod.start_delete(wrap=["strace", *inject("renameat", "delay_enter=1500000")])
    time.sleep(0.3)
    node.start()
    assert used(node) == 2, "the note was there before the agent"
    call.finish().ok()
    assert notes(node) == []
    wait_for("addresses are given back", lambda: used(node) == 0)
    wait_for("links are gone", lambda: not node.host_links())


@pytest.mark.parametrize("error", ["ENOBUFS", "ENOMEM"])
def test_agent_whose_nf_tables_do_not_answer_at_first_has_its_rules_later(own_lab, error):
    """Without them pods would be open, so it is not ready; an error that says nothing of the kernel is not believed for life."""
    node = own_lab.node()
    node.start(wait=False, wrap=["strace", "-D", "-I2", *inject("sendto", "error=%s:when=1..40" % error)])
    node.wait_ready()
    assert "nf_tables" in node.log()
    assert node.run("nft", "list", "table", "inet", "manx", check=False).returncode == 0
    assert node.show("status")["problems"] == []
    pod = node.pod("first")
    assert works(node, pod)


def test_del_while_the_agent_does_not_know_its_pods_is_done_later(own_lab):
    """Its netlink fails until the tracer goes, so it cannot look."""
    node = own_lab.node().start()
    pod, stays = node.pod("early-del"), node.pod("stays")
    node.stop()
    node.start(wait=False, wrap=["strace", "-D", "-I2", *inject("sendto", "error=ENOBUFS")])
    wait_for("the socket", lambda: os.path.exists(node.socket_path))
    node.cni_status().refused(50)
    pod.delete().ok()
    assert notes(node) == ["%s@eth0" % pod.container]
    os.kill(tracer_of(node.process.pid), signal.SIGTERM)
    node.wait_ready()
    wait_for("addresses are given back", lambda: used(node) == 2)
    wait_for("links are gone", lambda: set(node.host_links()) == {stays.host_if})
    wait_for("the note is gone", lambda: not notes(node))
    assert works(node, stays)
    assert node.run("nft", "list", "set", "inet", "manx", "pods-4").stdout.count(stays.v4) == 1
    assert node.show("status")["problems"] == []


def test_notes_with_bad_content_are_removed_and_harm_nobody(own_lab):
    node = own_lab.node().start()
    pod, stays = node.pod("leaves"), node.pod("stays")
    node.stop()
    pod.delete().ok()
    folder = node.dir / "run" / "del"
    good = (folder / ("%s@eth0" % pod.container)).read_bytes()
    stay = good.replace(pod.container.encode(), stays.container.encode())
    bad = {"empty": b"", "text": b"no note\n", "zeros": bytes(100), "add": stay.replace(b"CNI_COMMAND=DEL", b"CNI_COMMAND=ADD"),
           "no-end": b"CNI_COMMAND=DEL", "no-conf": stay[:stay.index(b"\0\0") + 2], "cut": stay[:-20],
           "json": stay[:stay.index(b"\0\0") + 2] + b"[]", "version": stay.replace(b'"1.0.0"', b'"9.0.0"'),
           "network": stay.replace(b'"k8s-pod-network"', b'"../x"'), "container": stay.replace(stays.container.encode(), b"../x"),
           "ifname": stay.replace(b"CNI_IFNAME=eth0", b"CNI_IFNAME=a/b"), "no-ifname": stay.replace(b"CNI_IFNAME", b"CNI_XFNAME"),
           "noise": random.Random(7).randbytes(5000) if hasattr(random.Random, "randbytes") else b"\xff" * 5000,
           "long": b"CNI_COMMAND=DEL\0CNI_X=" + b"x" * 3_000_000}
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "nowhere").symlink_to("/nowhere")
    node.start()
    wait_for("the good one is followed", lambda: used(node) == 2)
    wait_for("only what is no file, or too long, is left", lambda: notes(node) == ["fifo", "folder", "long", "nowhere"])
    assert works(node, stays)
    for name in ("fifo", "folder", "long", "nowhere"):
        assert name in node.log()


def test_late_note_does_not_end_a_container_that_was_added_again(own_lab):
    """Podman gives a container that it restarts the same id."""
    node = own_lab.node().start()
    pod = node.pod("restarted")
    node.stop()
    pod.delete().ok()
    name = notes(node)[0]
    content = (node.dir / "run" / "del" / name).read_bytes()
    node.start()
    wait_for("it is gone", lambda: used(node) == 0)
    (node.dir / "run" / "del" / name).write_bytes(content)      # as a plugin that gave up waiting leaves it
    pod.add()
    node.restart()
    time.sleep(0.3)
    assert works(node, pod)
    assert not notes(node)


# --- names ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("container", ["a", "UPPER.lower_1-2", "x" * 190, "0" * 64])
def test_container_ids_of_all_kinds(one, stays, container):
    pod = one.new_pod("named", container=container).add()
    assert works(one, pod)
    pod.delete().ok()


@pytest.mark.parametrize("ifname", ["e", "net\"1", "a;b|c", "ü0", "$(reboot)", "fifteen-letters", "back\\slash", "del\x7f"])
def test_interface_names_of_all_kinds(one, stays, ifname):
    pod = one.new_pod("odd-interface")
    answer = pod.start_add(ifname=ifname).finish().ok()
    pod.added(answer)
    assert answer.json["interfaces"][1]["name"] == ifname
    assert ping(one, pod.v4)
    pod.check(ifname=ifname).ok()
    one.cni("DEL", pod.container, pod.path, ifname=ifname, **pod.identity()).ok()


def test_interface_names_of_all_kinds_survive_a_restart(own_lab):
    node = own_lab.node().start()
    pods = {name: node.new_pod("odd-%d" % i) for i, name in enumerate(["net\"1", "ü0", "a;b|c"])}
    for name, pod in pods.items():
        pod.added(pod.start_add(ifname=name).finish())
    node.restart()
    for name, pod in pods.items():
        pod.check(ifname=name).ok()
        node.cni("DEL", pod.container, pod.path, ifname=name, **pod.identity()).ok()
    assert used(node) == 0


@pytest.mark.parametrize("ifname", ["eth%d", "%", "lo", "all", "default"])
def test_interface_names_that_the_kernel_would_not_take_as_they_are(one, stays, ifname):
    pod = one.new_pod("bad-interface")
    pod.start_add(ifname=ifname).finish().refused(4, "CNI_IFNAME " + ifname)
    assert [name for name in pod.links() if name != "lo"] == []


@pytest.mark.parametrize("namespace,name", [("default", "../../../etc/x"), ("../..", "web"), ("default", "a/b"), ("default", "a b"),
                                            ("default", "n" * 300), ("default", "a\nb"), (".", "x"), ("default", "\xff")])
def test_pod_names_that_are_none_are_code_4(one, stays, namespace, name):
    pod = one.new_pod("badly-named", namespace=namespace)
    pod.name = name
    pod.start_add().finish().refused(4, "CNI_ARGS")
    pod.delete().ok()


def test_pod_with_the_longest_names(one, stays):
    pod = one.new_pod("p" * 253, namespace="n" * 63, uid="u" * 200).add()
    assert works(one, pod)
    pod.delete().ok()


def test_socket_that_is_none(one, stays):
    pod = one.new_pod("lost")
    for path in 7, "", "manx.sock", "./run/manx.sock", "/" + "s" * 200, "/tmp/" + "s" * 300:
        for verb in ("ADD", "DEL"):
            one.cni(verb, pod.container, pod.path, conf={"socket": path}, **pod.identity()).refused(7, "socket")

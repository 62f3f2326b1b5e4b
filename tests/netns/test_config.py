"""Configuration, verbs and exit codes."""
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

import lab as labs
from lab import BINARY, PATH, ROOT, run, wait_for

# Verbs of the contract that come later; the day one is built, its row goes.
LATER = [["bgp"]]

STATUS = {
    "ready": bool, "version": str, "node": str, "addresses": list,
    "datastore": {"driver": str, "state": str},
    "cni": {"pods": int},
    "ipam": {"blocks": int, "used": int, "size": int},
    "overlay": {"mode": str, "device": str, "mtu": int, "peers": int, "problem": str},
    "bgp": {"peers": int, "established": int},
    "policy": {"policies": int, "rules": int, "sets": int, "elements": int},
    "process": {"rss_bytes": int, "pid": int},
    "problems": list,
}


@pytest.fixture(scope="module")
def node(lab):
    return lab.node().start()


def agent(node, text, *args, timeout=20):
    """Runs an agent on a configuration that it should refuse."""
    path = node.dir / "refused.conf"
    path.write_text(text)
    return path, run(node.argv(BINARY, "agent", "--config", str(path), *args), check=False, timeout=timeout, env={"PATH": PATH})


def shape(value, want, path="status"):
    if isinstance(want, dict):
        assert isinstance(value, dict) and set(value) >= set(want), "%s: %s" % (path, value)
        for key, sub in want.items():
            shape(value[key], sub, path + "." + key)
    else:
        assert isinstance(value, want), "%s is %r" % (path, value)


# --- the file -------------------------------------------------------------------------------------

BAD = [
    ("frobnicate = yes", "frobnicate"),
    ("block_size = many", "block_size"),
    ("block_size = 33", "block_size"),
    ("block_size_v6 = 100", "block_size_v6"),
    ("pool = 10.42.0.0/99", "10.42.0.0/99"),
    ("pool = ten", "pool"),
    ("encapsulation = gre", "gre"),
    ("nat_outgoing = perhaps", "nat_outgoing"),
    ("log_level = loud", "loud"),
    ("log_level = info\nlog_level = debug", "log_level"),
    ("node_name =", "node_name"),
    ("node_name = Not_A_Name", "node_name"),
    ("node_address = 192.0.2.300/24", "node_address"),
    ("node_address = interface", "node_address"),
    ("datastore = paper /x", "datastore"),
    ("datastore =", "datastore"),
    ("bgp_listen = 99999", "bgp_listen"),
    ("bgp_peer = 192.0.2.1", "bgp_peer"),
    ("as_number = 0x10", "as_number"),
    ("metrics_listen = 127.0.0.1", "metrics_listen"),
    ("just words", "just words"),
]


@pytest.mark.parametrize("line,word", BAD, ids=[re.sub(r"\W+", "-", b[0]) for b in BAD])
def test_bad_line_is_named_and_nothing_is_touched(node, line, word):
    touched = node.dir / "untouched"
    text = "# a comment\nrun_dir = %s/run\nstate_dir = %s/state\n" % (touched, touched)
    if not line.startswith("datastore"):
        text += "datastore = file %s/store\n" % touched
    text += line + "\n"
    path, p = agent(node, text)
    assert p.returncode == 5, p.stderr
    number = len(text.splitlines())
    assert "%s:%d: " % (path, number) in p.stderr and word in p.stderr
    assert not touched.exists()


def test_every_bad_line_is_reported(node):
    path, p = agent(node, "one = 1\n\ntwo = 2\n")
    assert p.returncode == 5
    assert "%s:1: " % path in p.stderr and "%s:3: " % path in p.stderr


def test_bad_set_is_refused(node):
    _, p = agent(node, "", "--set", "block_size=99")
    assert p.returncode == 5 and "block_size" in p.stderr


def test_missing_file_that_was_named_is_refused(node):
    p = run(node.argv(BINARY, "agent", "--config", str(node.dir / "absent.conf")), check=False, env={"PATH": PATH})
    assert p.returncode == 5 and "absent.conf" in p.stderr


def test_comments_blanks_and_empty_values_are_taken(lab):
    node = lab.node()
    node.config["metrics_listen"] = "            # off"
    node.config["health_listen"] = ""
    node.config["bgp_peer"] = ""
    node.start()
    node.end()


def test_shipped_file_parses_as_it_is(lab):
    """Every key of the contract in config/manx.conf, only the paths turned to the lab."""
    shipped = (ROOT / "config" / "manx.conf").read_text()
    node = lab.node()
    wanted = set(re.findall(r"^(\w+) *=", (shipped), re.M)) | set(re.findall(r"^# *(\w+) *=", shipped, re.M))
    assert wanted >= {
        "node_name", "node_address", "datastore", "run_dir", "state_dir", "cni_conf_dir", "cni_bin_dir", "pool",
        "block_size", "block_size_v6", "encapsulation", "nat_outgoing", "ipam", "ipam_reserve", "nft_owner", "bgp",
        "as_number", "bgp_peer", "bgp_listen", "metrics_listen", "health_listen", "log_level"}
    paths = {key: node.defaults()[key] for key in
             ("node_name", "datastore", "run_dir", "state_dir", "cni_conf_dir", "cni_bin_dir")}
    args = [word for key, value in paths.items() for word in ("--set", "%s=%s" % (key, value))]
    process = subprocess.Popen(node.argv(BINARY, "agent", "--config", str(ROOT / "config" / "manx.conf"), *args),
                               stderr=open(node.log_path, "w"), env={"PATH": PATH}, preexec_fn=labs.die_with_parent)
    try:
        node.process = process
        node.wait_ready()
        assert node.show("status")["node"] == node.name
    finally:
        node.end()


def test_set_replaces_the_files_list_and_adds_to_it(own_lab):
    node = own_lab.node().start(args=["--set", "pool=10.50.0.0/16", "--set", "pool=10.51.0.0/16"], encapsulation="none")
    pools = {name: p["spec"]["cidr"] for name, p in own_lab.objects("ippools").items()}
    assert pools == {"default-ipv4-ippool": "10.50.0.0/16", "default-ipv4-ippool-2": "10.51.0.0/16"}
    assert node.pod("p").v4.startswith("10.5")


def test_later_edit_of_pool_changes_nothing_and_is_logged(own_lab):
    node = own_lab.node().start(pool=["10.50.0.0/16"], encapsulation="none")
    node.restart(pool=["10.60.0.0/16"])
    assert [p["spec"]["cidr"] for p in own_lab.objects("ippools").values()] == ["10.50.0.0/16"]
    assert "10.60.0.0/16" in node.log()
    assert node.pod("p").v4.startswith("10.50.")


def hang_up(node, *words):
    """SIGHUP; waits until the log has all the words, and returns what it said."""
    before = len(node.log())
    node.process.send_signal(signal.SIGHUP)
    return wait_for("the log has %s" % (words,), lambda: (lambda new: all(w in new for w in words) and new)(
        node.log()[before:]), timeout=1)


def test_hangup_names_the_keys_that_need_a_restart(own_lab):
    node = own_lab.node().start()
    node.write_config(node_name="other", log_level="debug")
    node.process.send_signal(signal.SIGHUP)
    wait_for("the log names the key", lambda: "node_name" in node.log(), timeout=1)
    assert node.process.poll() is None and node.show("status")["ready"]


def test_hangup_takes_what_can_be_taken(own_lab):
    node = own_lab.node().start(log_level="err")
    node.write_config(log_level="info", pool=["10.50.0.0/16"], nat_outgoing="no", block_size=28, encapsulation="none")
    said = hang_up(node, "SIGHUP: configuration read")
    assert "restart" not in said
    node.write_config(log_level="info", state_dir="/var/lib/elsewhere", bgp_listen=180)
    said = hang_up(node, "restart: ")
    assert re.search(r"restart: state_dir, bgp_listen\W*$", said)
    assert node.show("status")["ready"] and node.show("status")["node"] == node.name


def test_hangup_takes_no_file_with_an_error(own_lab):
    node = own_lab.node().start()
    path = node.write_config(log_level="debug", frobnicate="yes")
    said = hang_up(node, "frobnicate", "stays as it was")
    assert "%s:" % path in said and "level=debug" not in said
    node.pod("a")
    assert "level=debug" not in node.log()
    os.unlink(path)
    hang_up(node, "stays as it was")
    assert node.show("status")["ready"]


def test_set_stands_over_the_file_after_a_hangup_too(own_lab):
    node = own_lab.node().start(args=["--set", "log_level=warn"], log_level="info")
    before = node.log()
    node.write_config(log_level="debug")
    node.process.send_signal(signal.SIGHUP)
    node.pod("a")
    assert node.log() == before


# --- the agent as a process -----------------------------------------------------------------------

@pytest.mark.waits
def test_second_agent_on_a_run_dir_waits_and_names_the_holder(node):
    path = node.write_config()
    begun = time.monotonic()
    p = run(node.argv(BINARY, "agent", "--config", path), check=False, timeout=30, env={"PATH": PATH})
    took = time.monotonic() - begun
    assert p.returncode == 75, p.stderr
    assert str(node.process.pid) in p.stderr
    assert 9 < took < 13
    assert node.show("status")["ready"]


def test_run_dir_that_cannot_be_locked_is_said_as_it_is(lab):
    node = lab.node()
    (node.dir / "file").write_text("")
    for run_dir in (node.dir / "file", node.dir / "file" / "below"):
        path = node.write_config(run_dir=run_dir)
        p = run(node.argv(BINARY, "agent", "--config", path), check=False, env={"PATH": PATH})
        assert p.returncode == 1 and str(run_dir) in p.stderr and "another agent" not in p.stderr


def test_ready_fd_is_written_when_ready(own_lab):
    node = own_lab.node()
    reader, writer = os.pipe()
    try:
        node.start(wait=False, args=["--ready-fd", str(writer)], pass_fds=[writer])
        os.close(writer)
        writer = -1
        assert os.read(reader, 16).endswith(b"\n")
        assert node.show("status")["ready"]
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_is_told(own_lab, kind):
    node = own_lab.node()
    name = str(own_lab.dir / "notify") if kind == "path" else "@manx-test-%d" % os.getpid()
    with node.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(name.replace("@", "\0"))
        door.settimeout(5)
        node.start(wait=False, env={"NOTIFY_SOCKET": name})
        assert door.recv(256) == b"READY=1\n"
        assert node.show("status")["ready"]
        node.process.send_signal(signal.SIGHUP)
        assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+\n", door.recv(256))
        assert door.recv(256) == b"READY=1\n"
        node.end()
        assert door.recv(256) == b"STOPPING=1\n"


def test_supervisor_that_is_not_there_is_no_harm(own_lab):
    node = own_lab.node().start(env={"NOTIFY_SOCKET": "/none/notify"})
    assert "NOTIFY_SOCKET /none/notify" in node.log()
    assert node.end() == 0


def test_log_is_logfmt(node):
    value = r'("([^"\\]|\\.)*"|\S*)'
    lines = node.log().splitlines()
    assert lines
    for line in lines:
        assert re.match(r"time=\S+ level=(err|warn|info|debug) sub=\w+ msg=%s( \w+=%s)*$" % (value, value), line), line


def test_conflist_and_plugin_are_installed_when_ready_and_stay(own_lab):
    node = own_lab.node().start()
    conflist = json.loads((node.dir / "net.d" / "10-manx.conflist").read_text())
    assert conflist["name"] == "k8s-pod-network"
    assert conflist["plugins"][0]["type"] == "manx"
    assert conflist["plugins"][0].get("socket", "/run/manx/manx.sock") == node.socket_path
    plugin = node.dir / "bin" / "manx"
    assert plugin.read_bytes() == open(BINARY, "rb").read()
    assert os.access(plugin, os.X_OK)
    assert [p.name for p in (node.dir / "net.d").iterdir()] == ["10-manx.conflist"]
    conf = {**conflist["plugins"][0], "name": conflist["name"], "cniVersion": conflist["cniVersion"]}
    pod = node.new_pod("installed")
    pod.added(node.cni("ADD", pod.container, pod.path, stdin=json.dumps(conf), binary=str(plugin), **pod.identity()))
    assert node.end() == 0
    assert plugin.exists() and (node.dir / "net.d" / "10-manx.conflist").exists()


def test_empty_folders_install_nothing(own_lab):
    node = own_lab.node().start(cni_conf_dir="", cni_bin_dir="")
    assert not list((node.dir / "net.d").iterdir()) and not list((node.dir / "bin").iterdir())


# --- verbs ----------------------------------------------------------------------------------------

def test_status_has_every_key_of_the_contract(node):
    node.pod("counted")
    status = node.show("status")
    shape(status, STATUS)
    assert status["ready"] is True
    assert status["node"] == node.name
    assert status["cni"]["pods"] == 1
    assert status["ipam"]["used"] == 2 and status["ipam"]["blocks"] == 2
    assert status["process"]["pid"] == node.process.pid
    assert 0 < status["process"]["rss_bytes"] < 16 << 20
    assert status["problems"] == []


def test_status_for_people_is_one_screen(node):
    text = node.manx("status").stdout
    assert node.name in text and len(text.splitlines()) <= 24
    assert all(len(line) <= 100 for line in text.splitlines() if not line.startswith("  problem"))


def test_status_finds_the_socket_by_the_configuration(node):
    p = run([BINARY, "status", "-o", "json", "--config", str(node.dir / "manx.conf")], env={"PATH": PATH})
    assert json.loads(p.stdout)["node"] == node.name


@pytest.mark.parametrize("verb", [["status"], ["routes"], ["ipam", "show"]], ids=" ".join)
def test_without_an_agent_verbs_exit_3(tmp_path, verb):
    p = run([BINARY, *verb, "--socket", str(tmp_path / "manx.sock")], check=False, env={"PATH": PATH})
    assert p.returncode == 3 and "manx.sock" in p.stderr and p.stdout == ""


@pytest.mark.skipif(os.path.exists("/run/manx/manx.sock") or os.path.exists("/etc/manx.conf"), reason="this machine runs manx")
def test_no_verb_is_status(node):
    p = run([BINARY], check=False, env={"PATH": PATH})
    assert p.returncode == 3 and "/run/manx/manx.sock" in p.stderr


@pytest.mark.parametrize("argv", [["frobnicate"], ["status", "--frobnicate"], ["status", "-o", "xml"], ["agent", "--set"],
                                  ["agent", "stray"], ["agent", "-o", "json"], ["agent", "--ready-fd", "x"],
                                  ["status", "stray"], ["status", "--fix"], ["version", "stray"], ["routes", "stray"],
                                  ["ipam", "show", "stray"], ["ipam", "check", "stray"], ["ipam"]], ids=" ".join)
def test_wrong_usage_exits_2(argv):
    p = run([BINARY, *argv], check=False, env={"PATH": PATH})
    assert p.returncode == 2 and p.stderr and p.stdout == ""


@pytest.mark.parametrize("argv", LATER, ids=" ".join)
def test_verbs_that_are_not_built_say_so(node, argv):
    p = node.manx(*argv, check=False)
    assert p.returncode == 2 and "not in this version" in p.stderr


def test_half_a_verb_is_wrong_usage(node):
    assert node.manx("ipam", check=False).returncode == 2


def test_version_is_one_line():
    p = run([BINARY, "version"], env={"PATH": PATH})
    assert len(p.stdout.splitlines()) == 1 and re.search(r"\d+\.\d+", p.stdout)
    as_json = run([BINARY, "version", "-o", "json"], env={"PATH": PATH})
    assert json.loads(as_json.stdout) == {"version": p.stdout.split()[1]}

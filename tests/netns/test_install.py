"""`manx install` and its way back, in trees that look like hosts of each distribution."""
import json
import os
import shutil

import pytest
from lab import BINARY, run

K3S, SNAP = "/var/lib/rancher/k3s/", "/var/snap/microk8s/current/"
USUAL = ("/etc/cni/net.d", "/opt/cni/bin")
HOSTS = [
    ("k3s", [K3S + "data/cni/", K3S + "data/current/bin/", "/etc/rancher/k3s/k3s.yaml"],
     (K3S + "agent/etc/cni/net.d", K3S + "data/cni"), "/etc/rancher/k3s/k3s.yaml"),
    ("k3s", [K3S + "data/current/bin/"], (K3S + "agent/etc/cni/net.d", K3S + "data/current/bin"), None),
    ("RKE2", ["/var/lib/rancher/rke2/agent/", "/etc/rancher/rke2/rke2.yaml"], USUAL, "/etc/rancher/rke2/rke2.yaml"),
    ("RKE1", ["/etc/kubernetes/ssl/kubecfg-kube-node.yaml"], USUAL, None),
    ("k0s", ["/var/lib/k0s/pki/admin.conf"], USUAL, "/var/lib/k0s/pki/admin.conf"),
    ("kubeadm", ["/etc/kubernetes/kubelet.conf", "/etc/kubernetes/admin.conf"], USUAL, "/etc/kubernetes/admin.conf"),
    ("MicroK8s", [SNAP + "args/cni-network/cni.yaml", SNAP + "credentials/client.config"],
     (SNAP + "args/cni-network", SNAP + "opt/cni/bin"), SNAP + "credentials/client.config"),
]
SYSTEMD, OPENRC = "/run/systemd/system/", "/sbin/openrc-run"
UNIT, WANTED = "/etc/systemd/system/manx.service", "/etc/systemd/system/multi-user.target.wants/manx.service"


class Host:
    """A tree, and the program run with it as root."""

    def __init__(self, path, *there):
        self.path = path
        for name in ("/proc/", "/dev/", "/etc/", "/usr/bin/", "/usr/local/bin/", *there):
            self.make(name)
        shutil.copy(BINARY, path / "manx")

    def make(self, name, text=""):
        path = self.at(name)
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(text)

    def at(self, name):
        return self.path / name.strip("/")

    def text(self, name):
        return self.at(name).read_text()

    def manx(self, *args, program="/manx", **kw):
        return run(["unshare", "-n", "-m", "sh", "-c", 'mount -t proc proc "$1/proc" && shift && exec chroot "$@"', "sh",
                    str(self.path), str(self.path), program, *args], **kw)

    def tree(self):
        return sorted((str(p.relative_to(self.path)), os.path.islink(p) or p.is_dir() or p.read_bytes()) for p in self.path.rglob("*"))


@pytest.fixture
def host(tmp_path):
    return lambda *there: Host(tmp_path, *there)


@pytest.mark.parametrize("name,there,folders,kubeconfig", HOSTS, ids=[h[0] + str(i) for i, h in enumerate(HOSTS)])
def test_each_distribution_is_found(host, name, there, folders, kubeconfig):
    h = host(SYSTEMD, *there)
    before = h.tree()
    said = h.manx("install", "--dry-run").stdout
    assert "found: %s (" % name in said and "also" not in said
    assert "cni_conf_dir: %s\ncni_bin_dir: %s\n" % folders in said
    assert "would write /usr/local/bin/manx" in said and "would write " + UNIT in said
    assert ("give it a credential" in said) == (kubeconfig is None)
    assert h.tree() == before

    h.manx("install")
    conf = h.text("/etc/manx.conf")
    assert "cni_conf_dir = %s\ncni_bin_dir = %s\n" % folders in conf
    assert ("datastore = kubernetes %s\n" % kubeconfig in conf) if kubeconfig else "datastore" not in conf
    assert "ReadWritePaths=/run /var/lib -%s -%s\n" % folders in h.text(UNIT)


@pytest.mark.parametrize("init,files", [(SYSTEMD, [UNIT, WANTED]), (OPENRC, ["/etc/init.d/manx"]), ("/etc/", [])])
def test_uninstall_leaves_nothing(host, init, files):
    h = host(init)
    before = h.tree()
    said = h.manx("install", "--set", "pool=10.1.0.0/16", "--set", "cni_bin_dir=/opt/other").stdout
    assert "found no Kubernetes distribution" in said
    written = [*files, "/etc/manx.conf", "/usr/local/bin/manx"]
    assert all(os.path.lexists(h.at(f)) for f in written)
    assert h.at("/usr/local/bin/manx").read_bytes() == h.at("/manx").read_bytes()
    assert os.access(h.at("/usr/local/bin/manx"), os.X_OK)
    assert h.manx("check", "/etc/manx.conf").returncode == 0
    assert "\npool=10.1.0.0/16\n" in h.text("/etc/manx.conf") and "cni_bin_dir=/opt/other\n" in h.text("/etc/manx.conf")
    for f in files[:1]:
        assert "/usr/local/bin/manx" in h.text(f) and "/usr/bin/manx" not in h.text(f)

    again = h.tree()
    h.manx("install")
    assert h.tree() == again

    said = h.manx("uninstall", program="/usr/local/bin/manx").stdout
    assert all("removed %s\n" % f in said for f in written)
    folders = {"etc/systemd", "etc/systemd/system", "etc/systemd/system/multi-user.target.wants", "etc/init.d", "var", "var/lib"}
    assert [row for row in h.tree() if row[0] not in folders] == before


def test_what_was_there_stays(host):
    h = host(SYSTEMD)
    h.make("/etc/manx.conf", "log_level = debug\n")
    said = h.manx("install", "--set", "log_level=info").stdout
    assert "kept /etc/manx.conf" in said
    h.manx("uninstall")
    assert h.text("/etc/manx.conf") == "log_level = debug\n"
    assert not os.path.lexists(h.at(UNIT))


def test_an_edited_configuration_survives_an_upgrade(host):
    h = host(SYSTEMD)
    h.manx("install")
    h.make("/etc/manx.conf", "log_level = debug\n")
    h.make("/usr/local/bin/manx", "an older one")
    h.manx("install")
    assert h.text("/etc/manx.conf") == "log_level = debug\n"
    assert h.at("/usr/local/bin/manx").read_bytes() == h.at("/manx").read_bytes()


def test_an_installed_program_stays_where_it_is(host):
    h = host(SYSTEMD)
    shutil.move(h.at("/manx"), h.at("/usr/bin/manx"))
    h.manx("install", program="/usr/bin/manx")
    assert "ExecStart=/usr/bin/manx agent\n" in h.text(UNIT)
    assert not h.at("/usr/local/bin/manx").exists()
    h.manx("uninstall", program="/usr/bin/manx")
    assert h.at("/usr/bin/manx").exists() and not h.at(UNIT).exists()


def test_what_cannot_be_written_is_named(host):
    h = host(SYSTEMD)
    h.make("/usr/local/bin/manx", "")           # somebody's: kept
    h.at("/etc/systemd").write_text("")         # where a folder should be
    answer = h.manx("install", check=False)
    assert answer.returncode == 1 and UNIT in answer.stderr
    assert h.manx("install", "--set", "pool=nonsense", check=False).returncode == 5


def test_status_says_whether_it_is_ready(own_lab):
    node = own_lab.node()
    node.start(wait=False, pool="10.42.0.0/16", node_address="interface none0")
    def answers():
        return node.manx("status", "--ready", "-o", "json", check=False)
    from lab import wait_for
    wait_for("the agent answers", lambda: answers().stdout)
    answer = answers()
    assert not json.loads(answer.stdout)["ready"] and answer.returncode == 1
    assert node.manx("status", check=False).returncode == 0
    node.restart(node_address="auto")
    assert answers().returncode == 0

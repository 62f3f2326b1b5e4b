"""What is installed, before it is: the manifests, the image."""
import json
import re
import tarfile

import pytest
import yaml
from cluster import IMAGE, MANIFESTS, obj

TEXT = (MANIFESTS / "manx.yaml").read_text()


def daemonset():
    return next(d for d in yaml.safe_load_all(TEXT) if d["kind"] == "DaemonSet")


def test_it_is_small_and_asks_for_little():
    assert len(TEXT) < 20000
    pod = daemonset()["spec"]["template"]["spec"]
    (one,) = pod["containers"]
    security = one["securityContext"]
    assert "privileged" not in security and security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_BIND_SERVICE"]}
    assert {v["hostPath"]["path"] for v in pod["volumes"]} == {
        "/etc/cni/net.d", "/opt/cni/bin", "/run/manx", "/var/lib/manx", "/proc/sys/net"}
    assert one["imagePullPolicy"] == "IfNotPresent"
    for role in yaml.safe_load_all(TEXT):
        for rule in role.get("rules", []):
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            assert not {"secrets", "customresourcedefinitions", "serviceaccounts/token", "pods/status"} & set(rule["resources"])


def test_the_image_is_the_one_that_the_manifest_names():
    with tarfile.open(IMAGE) as tar:
        (entry,) = json.load(tar.extractfile("manifest.json"))
        config = json.load(tar.extractfile(entry["Config"]))
        with tarfile.open(fileobj=tar.extractfile(entry["Layers"][0])) as layer:
            files = {m.name for m in layer if m.isfile()}
    assert entry["RepoTags"] == [daemonset()["spec"]["template"]["spec"]["containers"][0]["image"]]
    assert config["config"]["Entrypoint"] == ["/bin/manx"] and config["os"] == "linux"
    assert "./bin/manx" in files and "./licences/LGPL-2.1.txt" in files


@pytest.mark.parametrize("name", ["k3s", "microk8s"])
def test_overlays_differ_in_paths_only(name):
    ours, other = TEXT.splitlines(), (MANIFESTS / (name + ".yaml")).read_text().splitlines()
    assert len(ours) == len(other)
    changed = [(a, b) for a, b in zip(ours, other) if a != b and not a.startswith("#")]
    assert len(changed) == 2 and all(re.fullmatch(" *path: /.*", line) for pair in changed for line in pair)


def test_the_resources_keep_what_they_do_not_know(bare):
    bare.kubectl("apply", "--validate=strict", "-f", str(MANIFESTS / "manx-crds.yaml"))
    bare.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
    pool = obj("crd.projectcalico.org/v1", "IPPool", "kept", spec={"cidr": "192.0.2.0/24", "disabled": True, "of": {"tomorrow": [1, None]}})
    bare.apply(pool)
    assert bare.get("ippool", "kept")["spec"] == {"cidr": "192.0.2.0/24", "disabled": True, "of": {"tomorrow": [1, None]}}
    bare.delete(pool)

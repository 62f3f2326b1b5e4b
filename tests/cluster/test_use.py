"""What of the API manx used in all the tests before, by the server's own book."""
import time

import yaml
from cluster import MANIFESTS


CONFLICTS = {("get", "crd.projectcalico.org", kind) for kind in ("ippools", "ipamblocks", "blockaffinities", "ipamhandles")}


def granted():
    """Without Calico's other group, which this cluster does not have."""
    rules = [rule for doc in yaml.safe_load_all((MANIFESTS / "manx.yaml").read_text()) for rule in doc.get("rules", [])]
    return {(verb, group, resource) for rule in rules for verb in rule["verbs"]
            for group in rule["apiGroups"] for resource in rule["resources"] if group != "projectcalico.org"}


def test_every_right_is_used_and_none_is_missing(cluster, two):
    """The role has what is needed and no more: with one verb less something would have been refused.  Lists are
    asked for by servers that cannot stream them; what is got after a conflict may not have met one."""
    asked = cluster.audit() + two.audit()
    assert len(asked) > 50
    used = {(verb, group, resource) for verb, group, resource, status in asked if resource and status != 403}
    refused = {(verb, group, resource) for verb, group, resource, status in asked if status == 403}
    assert sorted(refused - used) == []            # a server that has just started refuses what it grants a moment later
    assert sorted(used - granted()) == []
    assert sorted(granted() - used - CONFLICTS) == []


def test_nothing_is_written_at_idle(cluster):
    time.sleep(5)
    before = len(cluster.audit())
    time.sleep(20)
    assert [a for a in cluster.audit()[before:] if a[0] not in ("watch", "list", "get")] == []

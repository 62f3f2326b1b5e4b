"""What manx says through the API, where kubectl shows it."""
import time

from cluster import obj
from lab import wait_for


def events(cluster):
    return [e for e in cluster.get("events", "-n", "default")["items"] if e["source"].get("component") == "manx"]


def test_problems_are_events_of_the_node(cluster):
    """One for each node and problem, however often the agent starts and the problem comes again."""
    pool = obj("crd.projectcalico.org/v1", "IPPool", "zz-inside", spec={"cidr": "10.42.64.0/20"})
    cluster.apply(pool)
    wait_for("each node has said it", lambda: len(events(cluster)) == len(cluster.nodes), 30, 0.3)
    seen = {e["metadata"]["name"]: e["metadata"]["resourceVersion"] for e in events(cluster)}
    for node, event in zip(cluster.nodes, sorted(events(cluster), key=lambda e: e["involvedObject"]["name"])):
        assert (event["type"], event["reason"], event["involvedObject"]["name"]) == ("Warning", "IpamProblem", node.name)
        assert "pool zz-inside (10.42.64.0/20) is not used: it overlaps pool default-ipv4-ippool" in event["message"]
        assert event["message"] in cluster.kubectl("describe", "node", node.name).stdout
    cluster.delete(pool)
    wait_for("it is over", lambda: all(n.show("status")["problems"] == [] for n in cluster.nodes), 10, 0.1)
    cluster.apply(pool)
    cluster.kubectl("-n", "kube-system", "rollout", "restart", "daemonset/manx")
    cluster.kubectl("-n", "kube-system", "rollout", "status", "daemonset/manx", "--timeout=100s", timeout=110)
    time.sleep(12)
    assert {e["metadata"]["name"]: e["metadata"]["resourceVersion"] for e in events(cluster)} == seen
    cluster.delete(pool)

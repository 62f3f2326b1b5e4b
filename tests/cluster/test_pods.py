"""Pods of a real kubelet: they start, reach each other and Services, answer probes, and hold policies."""
import socket
import time

import pytest
from cluster import AGNHOST, container, deployment, obj, service
from lab import matrix, ping, tcp, udp, wait_for


@pytest.fixture(scope="module")
def web(cluster):
    """Two pods on each node."""
    made = deployment("web", 6)
    cluster.apply(made)
    yield cluster.wait_pods("web", 6)
    cluster.delete(made)


def test_nodes_are_ready(cluster):
    pods = cluster.get("pods", "-n", "kube-system", "-l", "k8s-app=manx")["items"]
    assert len(pods) == 3
    assert all(c["restartCount"] == 0 for p in pods for c in p["status"]["containerStatuses"])
    for node in cluster.nodes:
        status = node.show("status")
        assert status["ready"] and status["node"] == node.name and status["addresses"][0].startswith(node.address)
        assert status["datastore"] == {"driver": "kubernetes", "state": "synced"}
        assert status["problems"] == []


def test_pods_of_all_nodes_reach_each_other(cluster, web):
    assert len({p.node for p in web}) == 3 and len({p.v4 for p in web}) == 6
    reached = matrix(web, 4)
    assert [pair for pair, ok in reached.items() if not ok] == []
    assert udp(web[0], web[-1].v4, web[-1], size=1400) == web[0].v4       # no masquerade between pods
    for node in cluster.nodes:
        assert all(ping(node, p.v4) for p in web)


def test_pods_reach_the_api_server_by_its_service(web):
    for pod in web:
        with pod.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            s.settimeout(5)
            s.connect(("10.43.0.1", 443))


def served(pods, client, address, port, tries=40, listen=None):
    """Which of pods, each listening at port, answered tries connections from client."""
    seen, doors = set(), []
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        for pod in pods:
            door = pod.socket(kind, socket.SOCK_STREAM)
            doors.append(door)
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((pod.v6 if ":" in address else pod.v4, listen or port))
            door.listen(tries)
            door.setblocking(False)
        for _ in range(tries):
            with client.socket(kind, socket.SOCK_STREAM) as s:
                s.settimeout(3)
                s.connect((address, port))

                def accepted():
                    for pod, door in zip(pods, doors):
                        try:
                            door.accept()[0].close()
                            return pod
                        except BlockingIOError:
                            pass
                    return None
                seen.add(wait_for("somebody accepts", accepted).name)
    finally:
        for door in doors:
            door.close()
    return seen


def test_services_reach_all_their_pods(cluster, web, objects):
    objects(service("web", 80, target=8080, type="NodePort"))
    ports = cluster.get("service", "web")["spec"]
    address, node_port = ports["clusterIP"], ports["ports"][0]["nodePort"]
    wait_for("the Service has its pods", lambda: sum(len(s["endpoints"] or []) for s in cluster.get(
        "endpointslices", "-l", "kubernetes.io/service-name=web")["items"]) == 6, 20, 0.2)
    time.sleep(2)                                  # kube-proxy writes its rules at most once a second
    names = {p.name for p in web}
    assert served(web, web[0], address, 80, 60, listen=8080) == names
    for node in cluster.nodes:
        assert served(web, node, address, 80, 60, listen=8080) == names
        assert served(web, cluster, node.address, node_port, 60, listen=8080) == names


def test_a_pod_reaches_itself_by_its_service(cluster, objects):
    objects(deployment("alone", 1), service("alone", 80))
    (pod,) = cluster.wait_pods("alone", 1)
    address = cluster.get("service", "alone")["spec"]["clusterIP"]
    wait_for("hairpin", lambda: tcp_by(pod, address, 80), 15, 0.2)


def tcp_by(pod, address, port):
    """A connection from pod to address that ends in pod itself."""
    with pod.socket(socket.AF_INET, socket.SOCK_STREAM) as door, pod.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        door.bind((pod.v4, port))
        door.listen(1)
        s.settimeout(1)
        try:
            s.connect((address, port))
        except OSError:
            return False
        return True


def test_host_ports(cluster, objects):
    objects(deployment("hosted", 1, containers=[container(ports=[{"containerPort": 8080, "hostPort": 18080}])]))
    (pod,) = cluster.wait_pods("hosted", 1)
    assert served([pod], cluster, pod.host.address, 18080, 1, listen=8080) == {pod.name}


DENY = obj("networking.k8s.io/v1", "NetworkPolicy", "deny", "default", spec={"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})


def test_probes_pass_whatever_policy_says(cluster, objects):
    """The kubelet asks a pod of a node under a policy that denies everything, before and after."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2}
    objects(DENY, deployment("probed", 3, containers=[container(AGNHOST, args=["netexec", "--http-port=8080"],
                                                               livenessProbe=probe, readinessProbe=probe)]))
    cluster.wait_pods("probed", 3)
    time.sleep(4)
    pods = cluster.wait_pods("probed", 3)
    assert [p.restarts for p in pods] == [0, 0, 0]
    assert not any(matrix(pods, 4)[a, b] for a in pods for b in pods if a is not b)


def test_policies_hold(cluster, web, objects):
    clients = deployment("client", 3, labels={"role": "client"})
    objects(clients)
    client = cluster.wait_pods("client", 3)
    everybody = [*web, *client]
    assert all(matrix(everybody, 4).values())
    objects(obj("networking.k8s.io/v1", "NetworkPolicy", "web", "default", spec={
        "podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": "client"}}}]}]}))

    def holds():
        reached = matrix(everybody, 4)
        wanted = {(a, b): b not in web or a in client or a is b for a in everybody for b in everybody}
        return reached == wanted
    wait_for("the policy holds", holds, 10, 0.1)
    # A pod that comes later is let in; one that loses its label is not.
    cluster.kubectl("scale", "deployment/client", "--replicas=4")
    later = next(p for p in cluster.wait_pods("client", 4) if p.name not in {c.name for c in client})
    wait_for("the new client is let in", lambda: tcp(later, web[0].v4, web[0]), 5, 0.05)
    cluster.kubectl("label", "pod", later.name, "role-", "--overwrite")
    wait_for("without the label it is not", lambda: not tcp(later, web[0].v4, web[0], 0.3), 5, 0.05)


def test_a_hundred_pods_start(cluster, objects):
    begun = time.monotonic()
    objects(deployment("many", 100))
    pods = cluster.wait_pods("many", 100, timeout=240)
    print("100 pods in %.1f s" % (time.monotonic() - begun))
    assert len({p.v4 for p in pods}) == 100
    some = pods[::9]
    assert all(matrix(some, 4).values())


def test_what_goes_leaves_nothing(cluster):
    """After the pods, their links, routes and addresses are gone."""
    cluster.kubectl("wait", "--for=delete", "pods", "-l", "app=many", "--timeout=120s", timeout=130)

    def gone():
        return all(not any(name.startswith("cali") for name in node.links()) and not node.routes(4, 171) for node in cluster.nodes)
    kept = len(cluster.get("pods", "-A")["items"]) - 3
    if kept == 0:
        wait_for("links and routes are gone", gone, 20, 0.3)

"""Another cluster: IPv4 and IPv6, kube-proxy in iptables mode, a server without streaming lists, a FORWARD chain that drops."""
from cluster import MANIFESTS, deployment, obj, service
from lab import matrix, ping, wait_for
from test_pods import served


def test_services_and_a_forward_policy_of_drop(two):
    for node in two.nodes:
        node.on("iptables", "-P", "FORWARD", "DROP")
        wait_for("two rules of ours", lambda: node.on("iptables", "-S", "FORWARD").stdout.count("cali+") == 2, 10)
    two.apply(deployment("web", 4), service("web", 80, target=8080, type="NodePort", ipFamilyPolicy="RequireDualStack"))
    web = two.wait_pods("web", 4)
    ports = two.get("service", "web")["spec"]
    assert all(matrix(web, 4).values())
    names, address, port = {p.name for p in web}, ports["clusterIP"], ports["ports"][0]["nodePort"]
    for node in two.nodes:
        wait_for("kube-proxy has the pods", lambda: len([line for line in node.on(
            "iptables-save", "-t", "nat").stdout.splitlines() if "--to-destination" in line and ":8080" in line]) == 4, 30, 0.3)
        assert served(web, node, address, 80, 60, listen=8080) == names
        assert served(web, two, node.address, port, 60, listen=8080) == names
    assert served(web, web[0], address, 80, 60, listen=8080) == names


def test_both_families(two):
    """Each pod has an address of each; pods, nodes and Services by IPv6."""
    for node in two.nodes:
        node.on("ip6tables", "-P", "FORWARD", "DROP")
        wait_for("two rules of ours", lambda: node.on("ip6tables", "-S", "FORWARD").stdout.count("cali+") == 2, 10)
        assert len(node.show("status")["addresses"]) == 2
    web = two.wait_pods("web", 4)
    assert len({p.v6 for p in web}) == 4 and all(p.v6.startswith("fd00:42:") for p in web)
    assert all(matrix(web, 6).values())
    assert all(ping(node, p.v6) for node in two.nodes for p in web)
    address = two.get("service", "web")["spec"]["clusterIPs"][1]
    for node in two.nodes:
        wait_for("kube-proxy has the pods", lambda: len([line for line in node.on(
            "ip6tables-save", "-t", "nat").stdout.splitlines() if "--to-destination" in line and ":8080" in line]) == 4, 30, 0.3)
    for client in (web[0], *two.nodes):
        assert served(web, client, address, 80, 60, listen=8080) == {p.name for p in web}
    two.apply(obj("networking.k8s.io/v1", "NetworkPolicy", "deny", "default", spec={"podSelector": {"matchLabels": {"app": "web"}}}))
    wait_for("a policy closes both", lambda: not any(ok for family in (4, 6) for (a, b), ok in matrix(web, family, 0.3).items() if a is not b), 20, 0.2)
    two.delete(obj("networking.k8s.io/v1", "NetworkPolicy", "deny", "default"))
    wait_for("and opens them", lambda: all(ok for family in (4, 6) for ok in matrix(web, family).values()), 20, 0.2)


def network_condition(cluster, node):
    status = cluster.get("node", node.name)["status"]
    return next((c["status"], c["reason"]) for c in status["conditions"] if c["type"] == "NetworkUnavailable")


def traces(cluster, node):
    """What the API says of a node that only manx has put there."""
    notes = cluster.get("node", node.name)["metadata"]["annotations"]
    objects = [o["metadata"]["name"] for kind in ("ipamblocks", "blockaffinities", "ipamhandles") for o in cluster.get(kind)["items"]
               if "host:" + node.name in o["spec"].get("affinity", "") or o["spec"].get("node") == node.name or node.name in o["metadata"]["name"]]
    return [key for key in notes if "projectcalico.org" in key] + objects


def test_leaving_and_coming_back(two):
    """Without its agents the pods go on; a node that is uninstalled says that it has no network, until there is an agent again."""
    web = two.wait_pods("web", 4)
    two.kubectl("delete", "-f", MANIFESTS / "manx.yaml")
    two.kubectl("-n", "kube-system", "wait", "--for=delete", "pods", "-l", "k8s-app=manx", "--timeout=60s", timeout=70)
    assert all(matrix(web, 4).values()) and all(matrix(web, 6).values())
    for node in two.nodes:
        assert network_condition(two, node) == ("False", "ManxIsUp") and traces(two, node)
        datastore = "datastore=kubernetes %s" % two.config
        said = node.manx("uninstall", "--set", datastore).stdout
        assert "removed node %s from the datastore" % node.name in said and "nothing of manx is on this node any more" in said
        assert network_condition(two, node) == ("True", "ManxIsGone")
        assert traces(two, node) == []
        assert not any(name.startswith(("cali", "vxlan")) for name in node.links()) and not node.on("ls", "/etc/cni/net.d").stdout
    two.delete(deployment("web", 4))
    two.install_manx()
    assert {network_condition(two, node) for node in two.nodes} == {("False", "ManxIsUp")}
    two.apply(deployment("web", 4))
    assert all(matrix(two.wait_pods("web", 4), 6).values())

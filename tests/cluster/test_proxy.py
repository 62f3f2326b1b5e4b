"""Another cluster: kube-proxy in iptables mode, a server without streaming lists, a FORWARD chain that drops."""
from cluster import deployment, service
from lab import matrix, wait_for
from test_pods import served


def test_services_and_a_forward_policy_of_drop(two):
    for node in two.nodes:
        node.on("iptables", "-P", "FORWARD", "DROP")
        wait_for("two rules of ours", lambda: node.on("iptables", "-S", "FORWARD").stdout.count("cali+") == 2, 10)
    two.apply(deployment("web", 4), service("web", 80, target=8080, type="NodePort"))
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

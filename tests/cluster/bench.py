#!/usr/bin/env python3
"""From a pod's creation to the first connection that it makes: manx beside the reference plugin ptp (with host-local), in turn on one
node of one cluster with a real kubelet.

    bench.py [N]

The pod's node is set, its image is there, and its only process connects to a server outside of the node.  What is measured goes from
the request that creates it to the server's accept.
"""
import http.client
import json
import socket
import ssl
import statistics
import sys
import time

from cluster import AGNHOST, NET, Cluster, container, obj, programs

PORT, PLACE = 9999, "/etc/cni/net.d/00-reference.conflist"
PODS = {"manx": NET + ".11", "ptp": "10.99.0."}        # who the server sees
LIST = json.dumps({"cniVersion": "1.0.0", "name": "reference", "plugins": [{"type": "ptp", "ipMasq": False, "ipam": {
    "type": "host-local", "ranges": [[{"subnet": PODS["ptp"] + "0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]})


def network(node, which):
    """The folder's first list is the network; containerd looks when the folder changes."""
    node.on("sh", "-c", "cat >%s" % PLACE if which == "ptp" else "rm -f %s" % PLACE, input=LIST)
    time.sleep(0.5)


def api(cluster):
    tls = ssl.create_default_context(cafile=cluster.pki.path("ca.crt"))
    tls.load_cert_chain(cluster.pki.path("admin.crt"), cluster.pki.path("admin.key"))
    conn = http.client.HTTPSConnection("127.0.0.1", 6443, context=tls)
    with cluster.entered():
        conn.connect()
    return conn


def first(cluster, node, conn, door, which, name):
    """Seconds."""
    network(node, which)
    body = json.dumps(obj("v1", "Pod", name, "default", spec={
        "nodeName": node.name, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
        "enableServiceLinks": False, "containers": [container(AGNHOST, command=["/bin/busybox", "nc", NET + ".1", str(PORT)])]}))
    begun = time.monotonic()
    conn.request("POST", "/api/v1/namespaces/default/pods", body, {"Content-Type": "application/json"})
    peer, (address, _) = door.accept()
    took = time.monotonic() - begun
    answer = conn.getresponse()
    assert answer.status == 201, answer.read()
    answer.read()
    peer.close()
    assert address.startswith(PODS[which]), (which, address)
    cluster.kubectl("delete", "pod", name, "--wait=true")
    return took


def main(count=30):
    folder, took = programs("ptp", "host-local"), {which: [] for which in PODS}
    with Cluster(1) as cluster:
        cluster.install_manx()
        node, conn = cluster.nodes[0], api(cluster)
        for name in ("ptp", "host-local"):
            node.on("sh", "-c", "cat %s >/opt/cni/bin/%s; chmod 755 /opt/cni/bin/%s" % (folder / name, name, name))
        cluster.batch("route add %s0/24 via %s" % (PODS["ptp"], node.address))
        cluster.kubectl("-n", "default", "create", "serviceaccount", "default", check=False)
        with cluster.socket(socket.AF_INET, socket.SOCK_STREAM) as door:
            door.settimeout(60)
            door.bind((NET + ".1", PORT))
            door.listen(8)
            for i in range(-2, int(count)):
                for which in sorted(PODS, reverse=i % 2 == 0):
                    t = first(cluster, node, conn, door, which, "first%d-%s" % (i + 2, which))
                    if i >= 0:
                        took[which].append(t)
    middle = {which: 1000 * statistics.median(all) for which, all in took.items()}
    for which, all in took.items():
        print("pod created -> first connection, %-4s  median of %d: %.0f ms  (%.0f to %.0f)" % (
            which, len(all), middle[which], 1000 * min(all), 1000 * max(all)))
    print("manx / ptp %.2f" % (middle["manx"] / middle["ptp"]))


if __name__ == "__main__":
    main(*sys.argv[1:])

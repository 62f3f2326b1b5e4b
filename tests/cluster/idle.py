#!/usr/bin/env python3
"""Ten minutes in which nothing happens, on three nodes with thirty pods: nothing is written, to the API or to a disk.

    idle.py [SECONDS]

The agents' token lives ten minutes, so that the kubelet replaces it meanwhile: afterwards, with the server started anew, they must
be heard with the new one.
"""
import collections
import signal
import sys
import time

from cluster import Cluster, deployment, obj
from lab import matrix, wait_for

TOKEN = {
    "      serviceAccountName: manx\n": "      serviceAccountName: manx\n      automountServiceAccountToken: false\n",
    "        - name: run\n          mountPath: /run/manx\n": "        - name: run\n          mountPath: /run/manx\n"
    "        - name: account\n          mountPath: /var/run/secrets/kubernetes.io/serviceaccount\n",
    "      volumes:\n": "      volumes:\n      - name: account\n        projected:\n          sources:\n"
    "          - serviceAccountToken: {path: token, expirationSeconds: 600}\n"
    "          - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}\n",
}
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def agent(node, path):
    return node.on("sh", "-c", "cat /proc/$(pgrep -x manx)/" + path).stdout


def written(node):
    """Bytes that the agent sent to a disk."""
    return int(next(line.split()[1] for line in agent(node, "io").splitlines() if line.startswith("write_bytes")))


def main(seconds=660):
    with Cluster(3, api_args=["--service-account-extend-token-expiration=false"]) as cluster:
        cluster.install_manx(**TOKEN)
        cluster.apply(deployment("many", 30))
        pods = cluster.wait_pods("many", 30, timeout=240)
        time.sleep(30)
        tokens, disk, before = [agent(n, "root" + ACCOUNT) for n in cluster.nodes], [written(n) for n in cluster.nodes], len(cluster.audit())
        time.sleep(float(seconds))
        asked = collections.Counter(verb for verb, *_ in cluster.audit()[before:])
        grown = [written(n) - was for n, was in zip(cluster.nodes, disk)]
        renewed = [agent(n, "root" + ACCOUNT) != was for n, was in zip(cluster.nodes, tokens)]
        print("API requests %s; bytes to disk %s; token renewed %s" % (dict(asked), grown, renewed), flush=True)
        assert not set(asked) - {"get", "list", "watch"} and not any(grown)
        assert float(seconds) < 600 or all(renewed)
        server = cluster.servers["kube-apiserver"]
        server.end(signal.SIGKILL)
        server.start()
        wait_for("kube-apiserver is ready", cluster.is_ready, 180, 0.2)
        cluster.apply(obj("networking.k8s.io/v1", "NetworkPolicy", "deny", "default", spec={"podSelector": {}}))
        wait_for("a policy is heard of", lambda: not any(ok for (a, b), ok in matrix(pods[::10], 4, 0.3).items() if a is not b), 60, 0.2)
        print("heard with the new token: 1 passed")


if __name__ == "__main__":
    main(*sys.argv[1:])

#!/usr/bin/env python3
"""The upstream end-to-end suite on a cluster with manx: NetworkPolicy (TCP and UDP; SCTP where the kernel has it), host ports, and what pods
reach by addresses and Services.

    conformance.py [FOCUS]      a regular expression of ginkgo's in place of the usual specs
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

import cluster as clusters
from lab import run

FOCUS = (r"Netpol NetworkPolicy between server and client|Networking Granular Checks: Pods should function for (intra|node)-pod communication"
         r"|HostPort validates that there is no conflict")
SKIP = ["Disruptive", r"Feature:(SCTP|IPv6|Networking-IPv6)"]


def full_image(bin_dir):
    """agnhost's image with what the networking specs call in it: curl, an nc that speaks UDP, and a
    shell that calls it (busybox' own has an nc built in), with their libraries."""
    path = bin_dir / "agnhost-suite.tar"
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=bin_dir) as tmp:
        root = clusters.agnhost_root(bin_dir, tmp)
        for name, program in (("curl", "curl"), ("nc", "nc.openbsd"), ("sh", "dash")):
            source = shutil.which(program)
            (root / "bin" / name).unlink(missing_ok=True)
            shutil.copy2(source, root / "bin" / name)
            for library in re.findall(r"(/\S+) \(0x", run(["ldd", source]).stdout):
                target = root / library.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(os.path.realpath(library), target)
        clusters.image(bin_dir, "agnhost-suite", clusters.AGNHOST, root, "/agnhost", cmd="pause")
    return path


def has_sctp():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
        return True
    except OSError:
        return False


def main(argv):
    folder = clusters.programs(*clusters.PROGRAMS, "e2e.test")
    skip = SKIP + ([] if has_sctp() else ["SCTP"])
    with clusters.Cluster(2) as cluster:
        for node in cluster.nodes:
            node.import_image(full_image(folder))
        cluster.install_manx()
        return subprocess.run(cluster.argv(
            str(folder / "e2e.test"), "--kubeconfig", str(cluster.config), "--provider=local", "--num-nodes=2", "--disable-log-dump",
            "--ginkgo.no-color", "--ginkgo.succinct", "--ginkgo.focus=" + (argv[0] if argv else FOCUS), "--ginkgo.skip=" + "|".join(skip))).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

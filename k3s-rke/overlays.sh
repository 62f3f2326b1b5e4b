#!/bin/sh
# overlays.sh   Writes k3s.yaml and microk8s.yaml from manx.yaml: the same but for where CNI looks.
set -eu
cd "$(dirname "$0")"
overlay() { # file, conf dir, bin dir, first line
	sed "1s|.*|# manx on every node of $4: manx.yaml with this distribution's folders, written by overlays.sh.|
		s|path: /etc/cni/net.d|path: $2|; s|path: /opt/cni/bin|path: $3|" manx.yaml >"$1"
}
overlay k3s.yaml /var/lib/rancher/k3s/agent/etc/cni/net.d /var/lib/rancher/k3s/data/cni k3s
overlay microk8s.yaml /var/snap/microk8s/current/args/cni-network /var/snap/microk8s/current/opt/cni/bin MicroK8s

#!/bin/sh
# build.sh PROGRAM...   Makes programs of the cluster from their Go modules (go.mod: which versions), prints the folder they are in.
# It is outside the tree and lasts: a program that is there is not made again. CLUSTER_CACHE=folder: another place.
set -eu
cd "$(dirname "$0")"
kubernetes=$(awk '$2 == "k8s.io/kubernetes" { print $3 } $1 == "k8s.io/kubernetes" { print $2 }' go.mod)
package() {
	case $1 in
	etcd)               echo go.etcd.io/etcd/server/v3 ;;
	kube*)              echo "k8s.io/kubernetes/cmd/$1" ;;
	agnhost)            echo k8s.io/kubernetes/test/images/agnhost ;;
	e2e.test)           echo k8s.io/kubernetes/test/e2e ;;
	cnitool)            echo github.com/containernetworking/cni/cnitool ;;
	ptp)                echo github.com/containernetworking/plugins/plugins/main/ptp ;;
	host-local)         echo github.com/containernetworking/plugins/plugins/ipam/host-local ;;
	*)                  echo "build.sh: no program '$1'" >&2; exit 1 ;;
	esac
}

# Debian's go is not always in PATH. From 1.21 on, go itself fetches the version that go.mod asks for.
for bin in '' /usr/local/go/bin/ /usr/lib/go/bin/ /usr/lib/go-1.*/bin/; do
	have=$("${bin}go" version 2>/dev/null | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p') || have=
	[ "${have:-0}" -ge 24 ] && break
done
if [ "${have:-0}" -lt 24 ]; then
	echo 'tests/cluster: Kubernetes is built by Go 1.24 or newer, and there is none: install it, or from Debian 13 on the package golang-go' >&2
	exit 1
fi

# Without these flags clients stumble over the server's version.
version=k8s.io/component-base/version
minor=${kubernetes#v1.}; minor=${minor%%.*}
flags="-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=$minor -X $version.gitTreeState=clean"

to=${CLUSTER_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/manx-cluster}/$(cat go.mod go.sum build.sh | sha256sum | cut -c1-16)
mkdir -p "$to"
exec 9>"$to/lock"; flock 9
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false
for p; do
	[ ! -x "$to/$p" ] || continue
	echo "BUILD  $p" >&2
	case $p in
	e2e.test) "${bin}go" test -trimpath -c -ldflags "$flags" -o "$to/$p.new" "$(package "$p")" >&2 ;;
	*)        "${bin}go" build -trimpath -ldflags "$flags" -o "$to/$p.new" "$(package "$p")" >&2 ;;
	esac
	mv "$to/$p.new" "$to/$p"
done
echo "$to"

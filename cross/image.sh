#!/bin/sh
# image.sh OUT.tar NAME:TAG ROOT ENTRYPOINT...   The files of folder ROOT as a container image with one layer: a docker-archive,
# which docker, ctr, k3s and nerdctl load. The same files give the same bytes. ARCH (environment): whose machine it is for; CMD: its one argument, if
# nobody gives others.
set -eu
out=$(realpath "$1") name=$2 root=$3; shift 3
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
pack() { tar --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u+rw,go=rX,go-w -cf "$@"; }
digest() { sha256sum <"$1" | cut -d' ' -f1; }

case ${ARCH:-$(uname -m)} in
x86_64)  arch='"amd64"' ;;
aarch64) arch='"arm64"' ;;
armv7*)  arch='"arm","variant":"v7"' ;;
armv6*)  arch='"arm","variant":"v6"' ;;
*)       arch="\"${ARCH:-$(uname -m)}\"" ;;
esac
entrypoint=$(printf ',"%s"' "$@")

mkdir "$work/image"
pack "$work/layer" -C "$root" .
layer=$(digest "$work/layer")
mv "$work/layer" "$work/image/$layer.tar"
printf '{"architecture":%s,"os":"linux","config":{"Entrypoint":[%s],"Env":["PATH=/bin:/"]%s},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
	"$arch" "${entrypoint#,}" "${CMD:+,\"Cmd\":[\"$CMD\"]}" "$layer" >"$work/config"
config=$(digest "$work/config")
mv "$work/config" "$work/image/$config.json"
printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["%s.tar"]}]' "$config" "$name" "$layer" >"$work/image/manifest.json"
pack "$out.new" -C "$work/image" "$config.json" "$layer.tar" manifest.json
mv "$out.new" "$out"

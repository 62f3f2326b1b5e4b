#!/bin/sh
# guest.sh           Runs in a guest as /test, under busybox: all tests, one after the other.
# guest.sh --list    Names them, anywhere.
#
# When a test is over it prints "ok NAME SECONDS" or "not ok NAME SECONDS: why", and before the
# latter what happened, behind "# ". "fact NAME VALUE" is a figure for the report; the last line
# is "done".
#
# A lab is two nodes on a switch, each a network namespace with the real agent in it, a datastore
# folder that they share, and a pod on each node, attached through the CNI face. There is one for
# each word of MODES: a new overlay is a word there and a function NAME_device. After them comes one
# with a third node behind a router, where the mode of the pool is edited.

MODES="ipip vxlan none"
IMAGE_TESTS="kernel_has_modules agent_is_ready uplink_works agent_is_started_again auto_is_ipip module_goes_and_comes \
	module_is_loaded"
MODE_TESTS="starts device reaches_v4 reaches_v6 node_reaches_pods largest_packet agent_killed del stops uninstalls"
CROSS_TESTS="starts ways reaches node_reaches_pods largest_packet killed edit_ipip edit_vxlan edit_none edit_back stops"

LAB=/run/lab

list() {
	for t in $IMAGE_TESTS; do echo "image_$t"; done
	for m in $MODES; do
		for t in $MODE_TESTS; do echo "${m}_$t"; done
	done
	for t in $CROSS_TESTS; do echo "cross_$t"; done
}
if [ "$1" = --list ]; then list; exit; fi

# --- helpers ------------------------------------------------------------------------

# Under set -e a command that fails ends the test; what it was is the last line of the trace.
run_test() {	# NAME FUNCTION
	read -r begun _ </proc/uptime
	( set -ex; "$2" ) >/run/test.log 2>&1
	rc=$?
	read -r ended _ </proc/uptime
	took=$(awk "BEGIN { print $ended - $begun }")
	if [ $rc = 0 ]; then
		echo "ok $1 $took"
	else
		tail -n 25 /run/test.log | sed 's/^/# /'
		for log in "$LAB"/*/log; do
			[ ! -e "$log" ] || tail -n 15 "$log" | sed "s,^,# $(basename "$(dirname "$log")"): ,"
		done
		echo "not ok $1 $took: $(tail -n 1 /run/test.log)"
	fi
}

eventually() {	# SECONDS COMMAND...
	{ set +x; } 2>/dev/null
	read -r now _ </proc/uptime
	end=$((${now%.*} + 1 + $1)); shift
	until "$@" >/run/eventually 2>&1; do
		read -r now _ </proc/uptime
		if [ "${now%.*}" -ge "$end" ]; then
			cat /run/eventually
			echo "still not: $*"
			return 1
		fi
		usleep 50000
	done
	set -x
}

# "!" would hide the failure from set -e.
never() { if "$@"; then return 1; fi; }

fact() {	# NAME VALUE
	echo "fact ${MODE:+${MODE}_}$1 $2" >/dev/console
}

at() {	# NAMESPACE COMMAND...
	there=$LAB/$1/net; shift
	nsenter --net="$there" "$@"
}

# One value of a JSON document on one line: a string or a number, by its key.
value() { sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p'; }

# --- a lab --------------------------------------------------------------------------

namespace() {	# NAME
	mkdir -p "$LAB/$1"
	: >"$LAB/$1/net"
	unshare --net="$LAB/$1/net" ip link set lo up
	at "$1" sh -c 'for f in all default; do echo 0 >/proc/sys/net/ipv6/conf/$f/accept_dad; done'
}

switch() {	# NUMBER
	ip link add "br$1" type bridge
	ip link set "br$1" up
}

node() {	# NAME NUMBER [SUBNET]
	subnet=192.0.2
	[ "${3:-0}" = 0 ] || subnet=198.51.100
	namespace "$1"
	at "$1" ip link add eth0 type veth	# busybox cannot name the other end: it is veth0
	at "$1" ip link set veth0 name "port$2"
	at "$1" ip link set "port$2" netns $$
	ip link set "port$2" master "br${3:-0}"
	ip link set "port$2" up
	at "$1" ip link set eth0 up
	at "$1" ip addr add "$subnet.1$2/24" dev eth0
	at "$1" ip addr add "2001:db8::1$2/64" dev eth0
	at "$1" ip route add default via $subnet.1
	at "$1" ip route add default via 2001:db8::1
	cat >"$LAB/$1/manx.conf" <<-C
		node_name = $1
		datastore = file $LAB/store
		run_dir = $LAB/$1/run
		state_dir = $LAB/$1/state
		cni_conf_dir = $LAB/$1/net.d
		cni_bin_dir = $LAB/$1/bin
		pool = 10.42.0.0/16
		encapsulation = $MODE
		ipam_reserve = 0
	C
	[ "${V4_ONLY:-}" ] || echo 'pool = fd00:10:42::/48' >>"$LAB/$1/manx.conf"
}

start() {	# NODE
	{
		set +x; rc=0
		at "$1" manx agent --config "$LAB/$1/manx.conf" || rc=$?
		echo $rc >"$LAB/$1/exit"
	} 2>>"$LAB/$1/log" &
	eventually 10 ready "$1"
	status "$1" | value pid >"$LAB/$1/pid"
}

end() {	# NODE SIGNAL
	rm -f "$LAB/$1/exit"
	kill "-$2" "$(cat "$LAB/$1/pid")"
	eventually 5 test -s "$LAB/$1/exit"
}

status() { manx status -o json --socket "$LAB/$1/run/manx.sock"; }
ready()  { status "$1" | grep -q '"ready":true'; }

cni() {	# VERB POD NODE
	printf '{"cniVersion":"1.0.0","name":"k8s-pod-network","type":"manx","socket":"%s"}' "$LAB/$3/run/manx.sock" |
	at "$3" env CNI_COMMAND="$1" CNI_CONTAINERID="$2-0123456789abcdef" CNI_NETNS="$LAB/$2/net" CNI_IFNAME=eth0 \
		CNI_PATH="$LAB/$3/bin" CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=$2" manx
}

pod() {	# NAME NODE
	namespace "$1"
	cni ADD "$1" "$2" >"$LAB/$1/result"
}

v4() { sed -n 's,.*"\([0-9.]*\)/32".*,\1,p' "$LAB/$1/result"; }
v6() { sed -n 's,.*"\([0-9a-f:]*\)/128".*,\1,p' "$LAB/$1/result"; }

# --- the node that init made ----------------------------------------------------------
# The host gave it: hostname=guest ip=10.0.2.15/24,10.0.2.2 ip=2001:db8:2::15/64
# manx.set="datastore=file /var/lib/manx/objects"

image_status() { manx status -o json; }
image_ready()  { image_status | grep -q '"ready":true'; }

image_kernel_has_modules() {
	for m in veth vxlan ipip ip6_tunnel bridge sch_netem nf_tables nft_ct nft_masq nft_nat nft_fib_inet nft_reject_inet; do
		[ -d "/sys/module/$m" ]
	done
}

image_addresses() { image_status | grep '"addresses":\["10.0.2.15/24","2001:db8:2::15/64"\]'; }

image_agent_is_ready() {
	eventually 15 image_ready
	image_status | grep '"node":"guest"'
	eventually 10 image_addresses
	[ -d /var/lib/manx/objects/.manx ]
	sleep 1
	fact idle_rss_kib $(($(image_status | value rss_bytes) / 1024))
}

image_uplink_works() {
	ping -c 1 -W 5 10.0.2.2
}

another_one() { [ "$(image_status | value pid)" != "$1" ] && image_ready; }

image_agent_is_started_again() {
	pid=$(image_status | value pid)
	kill -9 "$pid"
	eventually 15 another_one "$pid"
}

image_overlay() { image_status | grep '"overlay":{"mode":"ipip","device":"tunl0","mtu":1480,"peers":0,"problem":""}'; }

image_auto_is_ipip() {
	eventually 5 image_overlay
	grep '"ipipMode":"Always"' /var/lib/manx/objects/.manx/ippools/default-ipv4-ippool.json
	eventually 5 tunl0_is_up
	never ip link show manx-probe
}

tunl0_is_up() { ip link show tunl0 | grep ',UP'; }

image_module_goes_and_comes() {
	rmmod ipip
	eventually 5 image_lacks_ipip
	image_ready
	insmod /lib/modules/*-ipip.ko
	eventually 5 tunl0_is_up
	eventually 5 image_overlay
}

# Asking for the device loads its module, where the kernel knows how to.
image_module_is_loaded() {
	rmmod ipip
	eventually 5 image_lacks_ipip
	printf '#!/bin/sh\necho "$@" >>/run/wanted\nexec /bin/insmod /lib/modules/*-ipip.ko\n' >/run/modprobe
	chmod +x /run/modprobe
	echo /run/modprobe >/proc/sys/kernel/modprobe
	image_agent_is_started_again
	eventually 5 tunl0_is_up
	eventually 5 image_overlay
	grep rtnl-link-ipip /run/wanted
}

image_lacks_ipip() { image_status | grep '"problems":.*CONFIG_NET_IPIP'; }

# --- what each mode must do -----------------------------------------------------------

starts() {
	mkdir -p "$LAB/store"
	switch 0
	node edge-1 1
	node edge-2 2
	start edge-1
	start edge-2
	pod web edge-1
	pod db edge-2
	[ "$(v4 web)" ]
	[ "$(v6 db)" ]
	fact rss_kib $(($(status edge-1 | value rss_bytes) / 1024))
}

device() { "${MODE}_device"; }

reaches_v4() {
	eventually 5 at web ping -c 1 -W 1 "$(v4 db)"
	at db ping -c 1 -W 5 "$(v4 web)"
}

reaches_v6() {
	eventually 5 at web ping -c 1 -W 1 "$(v6 db)"
	at db ping -c 1 -W 5 "$(v6 web)"
}

# A process of a node needs a source address that the pod's node sends its answers back to by the same way.
node_reaches_pods() {
	eventually 5 at edge-1 ping -c 1 -W 1 "$(v4 db)"
	at edge-2 ping -c 1 -W 5 "$(v4 web)"
	at edge-1 ping -c 1 -W 5 "$(v6 db)"
}

# As large as the pod's link allows, header included: it goes unfragmented, so the underlay must take it.
largest_packet() {
	mtu=$(at web ip link show eth0 | sed -n 's/.* mtu \([0-9]*\).*/\1/p')
	at web ping -c 1 -W 5 -s $((mtu - 28)) "$(v4 db)"
	at web ping -c 1 -W 5 -s $((mtu - 48)) "$(v6 db)"
}

# Not a packet is lost when the agent dies and when another one takes over.
agent_killed() {
	at web ping -q -c 30 -i 0.1 -W 5 "$(v4 db)" >/run/ping &
	pings=$!
	usleep 500000
	end edge-1 KILL
	usleep 500000
	start edge-1
	wait $pings
	grep ' 0% packet loss' /run/ping
	cni ADD web edge-1 >/run/again
	cmp /run/again "$LAB/web/result"
}

del() {
	cni DEL web edge-1
	cni DEL db edge-2
	eventually 5 all_free
	eventually 5 no_trace edge-1
	eventually 5 no_trace edge-2
}

all_free() {
	manx ipam show -o json --socket "$LAB/edge-1/run/manx.sock" >/run/ipam
	grep -q '"used":0' /run/ipam && ! grep '"used":[1-9]' /run/ipam
}

no_trace() {	# NODE
	at "$1" ip link >/run/links && at "$1" ip route >/run/routes &&
		! grep -e ': cali' -e 'dev cali' /run/links /run/routes
}

stops() {
	for n in edge-1 edge-2; do
		end $n TERM
		[ "$(cat "$LAB/$n/exit")" = 0 ]
	done
}

# By hand, since no agent runs.  tunl0 is the kernel's: it is given back, down and without our address.
uninstalls() {
	for n in edge-1 edge-2; do
		at $n manx uninstall --config "$LAB/$n/manx.conf"
		at $n ip addr >/run/links
		at $n ip route >/run/routes
		never grep -e vxlan -e '10\.42\.' -e 'tunl0.*UP' /run/links /run/routes
	done
	never test -e "$LAB/store"
}

# Whatever state the lab is in.
remove_lab() {
	for n in "$LAB"/*/pid; do kill -9 "$(cat "$n")"; done
	for n in "$LAB"/*/net; do umount "$n"; done
	ip link del br0
	ip link del br1
	rm -rf "$LAB"
} 2>/dev/null

# --- one overlay and another ------------------------------------------------------------

overlay() {	# MODE DEVICE MTU PEERS
	status edge-1 | tee /run/status
	grep -q "\"overlay\":{\"mode\":\"$1\",\"device\":\"$2\",\"mtu\":$3,\"peers\":$4," /run/status
}

tunnel_address() {	# NODE DEVICE
	at "$1" ip -4 addr show "$2" | sed -n 's,.*inet \(10\.42\.[0-9.]*\)/32.*,\1,p'
}

way() {	# NODE ADDRESS WORDS...
	got=$(at "$1" ip route get "$2" | tr -s ' '); shift 2
	echo "$got"
	case "$got" in *"$*"*) ;; *) return 1;; esac
}

ipip_device() {
	eventually 5 overlay ipip tunl0 1480 1
	eventually 5 test -n "$(tunnel_address edge-1 tunl0)"
	at edge-1 ip link show tunl0 | grep 'UP.*mtu 1480'
	at edge-1 ip route | grep 'via 192.0.2.12 dev tunl0 .*onlink'
	eventually 5 way edge-1 "$(v4 db)" "via 192.0.2.12 dev tunl0 src $(tunnel_address edge-1 tunl0)"
	grep "\"projectcalico.org/IPv4IPIPTunnelAddr\":\"$(tunnel_address edge-1 tunl0)\"" "$LAB"/store/.manx/nodes/edge-1.json
	at web ip link show eth0 | grep 'mtu 1480'
	never at edge-1 ip link show vxlan.calico
	# What lies in no pool is somebody else's; what lies in one and is not ours goes.
	at edge-1 ip addr add 10.99.9.9/32 dev tunl0
	at edge-1 ip addr add 10.42.255.9/32 dev tunl0
	eventually 5 no_address edge-1 10.42.255.9
	at edge-1 ip addr show tunl0 | grep 10.99.9.9
	at edge-1 ip link set tunl0 down
	eventually 5 way edge-1 "$(v4 db)" "via 192.0.2.12 dev tunl0"
}

no_address() { ! at "$1" ip addr show tunl0 | grep "$2"; }

vxlan_device() {
	eventually 5 overlay vxlan vxlan.calico 1450 1
	at edge-1 ip link show vxlan.calico
	at edge-1 ip link show vxlan-v6.calico
}

none_device() {
	eventually 5 overlay "" "" 0 0
	never at edge-1 ip link show vxlan.calico
	at web ip link show eth0 | grep 'mtu 1500'
}

# --- a node behind a router, and edits -------------------------------------------------

cross_starts() {
	mkdir -p "$LAB/store"
	switch 0
	switch 1
	ip addr add 192.0.2.1/24 dev br0
	ip addr add 198.51.100.1/24 dev br1
	echo 1 >/proc/sys/net/ipv4/ip_forward
	node edge-1 1
	node edge-2 2
	echo 1 >/proc/sys/net/core/fb_tunnels_only_for_init_net
	node edge-3 3 1		# has no tunl0 until it makes one
	echo 0 >/proc/sys/net/core/fb_tunnels_only_for_init_net
	never at edge-3 ip link show tunl0
	start edge-1
	start edge-2
	start edge-3
	pod web edge-1
	pod db edge-2
	pod far edge-3
}

cross_ways() {
	eventually 5 overlay ipip-cross-subnet tunl0 1480 2
	eventually 5 way edge-1 "$(v4 db)" "via 192.0.2.12 dev eth0"
	eventually 5 way edge-1 "$(v4 far)" "via 198.51.100.13 dev tunl0"
	eventually 5 way edge-3 "$(v4 web)" "via 192.0.2.11 dev tunl0"
}

everybody() {
	for a in web db far; do
		for b in web db far; do at $a ping -c 1 -W 1 "$(v4 $b)" || return 1; done
	done
}

cross_reaches() { eventually 5 everybody; }

cross_node_reaches_pods() {
	at edge-1 ping -c 1 -W 5 "$(v4 far)"
	at edge-1 ping -c 1 -W 5 "$(v4 db)"
	at edge-3 ping -c 1 -W 5 "$(v4 web)"
}

cross_largest_packet() { at web ping -c 1 -W 5 -s 1452 "$(v4 far)"; }

# The device and what is on it serve on without the agent, and the next one takes them over.
cross_killed() {
	was=$(tunnel_address edge-1 tunl0)
	at web ping -q -c 30 -i 0.1 -W 5 "$(v4 far)" >/run/ping &
	pings=$!
	usleep 500000
	end edge-1 KILL
	usleep 500000
	start edge-1
	wait $pings
	grep ' 0% packet loss' /run/ping
	[ "$(tunnel_address edge-1 tunl0)" = "$was" ]
}

edit() {	# IPIPMODE VXLANMODE
	printf '{"apiVersion":"crd.projectcalico.org/v1","kind":"IPPool","metadata":{"name":"default-ipv4-ippool"},"spec":{"cidr":"10.42.0.0/16","blockSize":26,"ipipMode":"%s","vxlanMode":"%s"}}\n' "$1" "$2" >"$LAB/store/.pool"
	mv "$LAB/store/.pool" "$LAB/store/pool.json"
}

publishes() {	# KIND...: those tunnel addresses and no others
	sed -n 's/.*/&\n/; s/[,{]/\n/g; p' "$LAB"/store/.manx/nodes/edge-1.json |
		sed -n 's,"projectcalico.org/\(.*\)TunnelAddr".*,\1,p' >/run/published
	[ "$(cat /run/published)" = "$*" ]
}

cross_edit_ipip() {
	eventually 5 publishes IPv4IPIP
	edit Always Never
	eventually 5 way edge-1 "$(v4 db)" "via 192.0.2.12 dev tunl0"
	eventually 5 everybody
	eventually 5 overlay ipip tunl0 1480 2
}

tunl0_is_given_back() {
	! at edge-1 ip link show up | grep tunl0 && ! at edge-1 ip -4 addr show tunl0 | grep inet &&
		! at edge-1 ip route | grep tunl0
}

cross_edit_vxlan() {
	edit Never Always
	eventually 5 way edge-1 "$(v4 db)" "dev vxlan.calico"
	eventually 5 way edge-1 "$(v4 far)" "dev vxlan.calico"
	eventually 5 everybody
	eventually 5 tunl0_is_given_back
	eventually 5 publishes IPv4VXLAN
}

cross_edit_none() {
	edit Never Never
	eventually 5 way edge-1 "$(v4 db)" "via 192.0.2.12 dev eth0"
	eventually 5 at web ping -c 1 -W 1 "$(v4 db)"
	never at edge-1 ip link show vxlan.calico
	eventually 5 publishes
}

cross_edit_back() {
	rm "$LAB/store/pool.json"
	cross_ways
	eventually 5 everybody
	eventually 5 publishes IPv4IPIP
	never at edge-1 ip link show vxlan.calico
}

cross_stops() {
	for n in edge-1 edge-2 edge-3; do
		end $n TERM
		[ "$(cat "$LAB/$n/exit")" = 0 ]
	done
}

# --- all of it --------------------------------------------------------------------------

fact kernel "$(uname -r)"
fact boot_s "$(cut -d ' ' -f 1 /proc/uptime)"
for t in $IMAGE_TESTS; do run_test "image_$t" "image_$t"; done
for MODE in $MODES; do
	for t in $MODE_TESTS; do run_test "${MODE}_$t" "$t"; done
	remove_lab
done
MODE=ipip-cross-subnet V4_ONLY=yes
for t in $CROSS_TESTS; do run_test "cross_$t" "cross_$t"; done
remove_lab
echo done

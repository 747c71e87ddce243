# Makes a network: sh network.sh HOSTS NAME... , in namespaces of mounts, processes and network that nobody else is in.
#
# HOSTS is the file that says which address each NAME has, in the order of the names, the first one 10.96.0.2. Each name
# gets a network namespace; the namespace that this runs in is joined to them as 10.96.0.1. It ends, and everything in it,
# when its input does.
set -eu

hosts=$1
shift

# Container runtimes know either kind of cgroups, but not both at once.
if [ "$(stat --file-system --format %T /sys/fs/cgroup)" != cgroup2fs ]; then
  umount --recursive --lazy /sys/fs/cgroup
  mount -t cgroup2 none /sys/fs/cgroup
fi
mount -t tmpfs none /run
mount --bind "$hosts" /etc/hosts

ip link set lo up
ip link add bridge type bridge
ip address add 10.96.0.1/24 dev bridge
ip link set bridge up
number=1
for name; do
  number=$((number + 1))
  ip netns add "$name"
  ip link add "veth$number" type veth peer name eth0 netns "$name"
  ip link set "veth$number" master bridge up
  ip -netns "$name" link set lo up
  ip -netns "$name" address add "10.96.0.$number/24" dev eth0
  ip -netns "$name" link set eth0 up
done
echo made
exec cat

# The first process of the guest's kernel (user-mode-linux): loads its NFS client, brings up the network, runs the
# steps it was given, and powers off. The machine's files are the root file system, which nothing here can write
# to; answers go to a second hostfs mount. From the kernel's command line come NM_WORK (holds steps and answers),
# NM_MODULES (files, joined by ':', in the order they load), NM_ADDRESS (own, with its bits), NM_SERVER, NM_PORT.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C

mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
mkdir /mnt/answers
mount -t hostfs -o "$NM_WORK/answers" none /mnt/answers

# What every step may use: mounts an export at /mnt/NAME, with more options if wanted. mount.nfs is left out: it
# comes with a portmapper, and the kernel understands the options itself.
nfs_mount() {
  mkdir -p "/mnt/$2"
  mount -i -t nfs -o "vers=3,proto=tcp,port=$NM_PORT,mountport=$NM_PORT,mountproto=tcp,nolock,addr=$NM_SERVER,mountaddr=$NM_SERVER${3:+,$3}" \
    "$NM_SERVER:$1" "/mnt/$2"
}
# Runs a program as another user: as_user UID:GID[:GROUP,...] PROGRAM...
as_user() {
  user=${1%%:*} rest=${1#*:}
  shift
  group=${rest%%:*} groups=${rest#"$group"}
  if [ -n "$groups" ]; then set -- "--groups=${groups#:}" "$@"; else set -- --clear-groups "$@"; fi
  setpriv "--reuid=$user" "--regid=$group" "$@"
}

boot() {
  for module in $(echo "$NM_MODULES" | tr : ' '); do insmod "$module" || return 1; done
  ip link set lo up && ip addr add "$NM_ADDRESS" dev eth0 && ip link set eth0 up
}

run() {
  name=$1
  shift
  ("$@") >"/mnt/answers/$name.out" 2>"/mnt/answers/$name.err"
  echo $? >"/mnt/answers/$name.status"
}

run boot boot
for step in "$NM_WORK"/steps/*; do
  run "${step##*/}" . "$step"
done
sync
# Nobody is left to end a first process: SysRq switches the machine off.
echo o >/proc/sysrq-trigger
sleep 60

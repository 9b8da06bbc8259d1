#!/usr/bin/env bash
# Installs the programs the interoperability tests talk to, and what mounts of users (fuse3) and driver=fuse-native
# (libfuse2) need, where that is possible: as root, on a system with apt-get. Never fails: a test whose peer is missing
# skips and says so. NEARMOUNT_NO_INSTALL=1 turns it off.
set -u

peers=(libnfs-utils nfs-ganesha nfs-ganesha-vfs rpcbind tshark iproute2 attr acl rsync git sqlite3 fuse3 libfuse2 xfsprogs btrfs-progs)
# A kernel as a guest: 41 MB to download, 105 MB on disk.
peers+=(user-mode-linux kmod ethtool)
# What programs are tried with: a database, file-system stressors, and the lock test ping_pong (of ctdb): 60 MB to download,
# 270 MB on disk.
peers+=(fio postgresql stress-ng ctdb)

missing=()
if command -v dpkg-query >/dev/null; then
  for package in "${peers[@]}"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
else
  missing=("${peers[@]}")
fi
[ ${#missing[@]} -gt 0 ] || exit 0

not_installed() {
  echo "interoperability tests will skip: $1; install by hand: ${missing[*]}" >&2
  exit 0
}
[ "${NEARMOUNT_NO_INSTALL:-}" != 1 ] || not_installed 'NEARMOUNT_NO_INSTALL is set'
command -v apt-get >/dev/null || not_installed 'no apt-get here'
[ "$(id -u)" -eq 0 ] || not_installed 'not root'

# The packages' own daemons must not start on this machine: tests start the ones they need, on their own ports.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
fi
# Nor does a database belong here that nobody has asked for: pg_createcluster(1) makes one when PostgreSQL comes first.
clusters=/etc/postgresql-common/createcluster.d/nearmount-tests.conf
if [ ! -e /etc/postgresql-common ]; then
  mkdir -p "${clusters%/*}" && echo 'create_main_cluster = false' >"$clusters"
fi

export DEBIAN_FRONTEND=noninteractive
apt_get() { timeout 300 apt-get -qq -o Acquire::Retries=1 -o DPkg::Lock::Timeout=60 "$@" </dev/null; }
echo "installing for the interoperability tests: ${missing[*]}"
apt_get update || echo 'apt-get update failed; trying with the lists at hand' >&2
apt_get install -y --no-install-recommends "${missing[@]}" >/dev/null || not_installed 'apt-get install failed'

#!/bin/sh
# One host, two containers, made of nothing but unshare(1) and nsenter(1): a server on the host, and two guests with
# mounts and a network of their own. They have no network at all, do not see the exported directory, and get the
# server's socket and the table through a read-only bind mount. Both mount near.
#
# Usage, as root: demo.sh [COMMAND...]    (COMMAND: how to run nearmount; default: this checkout's)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- node "$here/../../dist/cli/main.js"

top=$(mktemp -d "${TMPDIR:-/tmp}/nm-two.XXXXXX")
chmod 755 "$top"
# host: what only the host sees. shared: socket and table. a, b: what belongs to each guest.
mkdir "$top/host" "$top/host/data" "$top/shared" "$top/a" "$top/b"
server= holder_a= holder_b=

clean_up() {
  status=$?
  trap - EXIT INT TERM
  for guest in a b; do
    eval "holder=\$holder_$guest"
    [ -n "$holder" ] || continue
    [ ! -e "$top/$guest/up" ] || nsenter -t "$holder" -m -n env NEARMOUNT_RUNTIME_DIR="$top/$guest/run" "$nearmount" unmount --force "$top/$guest/data" || true
    kill "$holder" 2>/dev/null || true
  done
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  wait
  rm -rf "$top"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# One word to run, whatever the arguments were.
nearmount=$top/nearmount
{
  echo '#!/bin/sh'
  printf 'exec'
  for word in "$@"; do printf " '%s'" "$word"; done
  echo ' "$@"'
} > "$nearmount"
chmod 755 "$nearmount"

dd if=/dev/urandom of="$top/host/data/file" bs=1M count=8 2>/dev/null
# Root of a guest is nobody in particular on the server (squash=root), so this is where both may write.
mkdir -m 1777 "$top/host/data/inbox"
wanted=$(sha256sum < "$top/host/data/file")

"$nearmount" serve --export "data=$top/host/data" --state "$top/host/state" \
  --socket "$top/shared/server.sock" --colocation "$top/shared/colocation.db" \
  > "$top/host/ready" 2> "$top/host/server.log" &
server=$!
until [ -s "$top/host/ready" ]; do
  kill -0 "$server" 2>/dev/null || { cat "$top/host/server.log"; exit 1; }
  sleep 0.1
done
echo "host:    $(sed "s|$top||g" "$top/host/ready")"

# A guest is kept by a process that sleeps in its namespaces; everything else enters there.
start_guest() { # NAME
  unshare --mount --net --propagation private sh -c '
    set -e
    mount --bind "$1/shared" "$1/shared"
    mount -o remount,bind,ro "$1/shared"
    mount -t tmpfs -o size=1m none "$1/host"
    : > "$1/$2/started"
    exec sleep infinity' guest "$top" "$1" &
}
start_guest a
holder_a=$!
start_guest b
holder_b=$!

for guest in a b; do
  eval "holder=\$holder_$guest"
  until [ -e "$top/$guest/started" ]; do
    kill -0 "$holder" 2>/dev/null || { echo "guest $guest did not start"; exit 1; }
    sleep 0.1
  done
  inside() { nsenter -t "$holder" -m -n env SHARED="$top/shared" GUEST="$top/$guest" NEARMOUNT_RUNTIME_DIR="$top/$guest/run" "$@"; }

  [ -z "$(inside ls "$top/host")" ] || { echo "guest $guest sees the export"; exit 1; }
  ! inside touch "$top/shared/probe" 2> /dev/null || { echo "guest $guest can write to the shared directory"; exit 1; }
  inside "$nearmount" up "$here/guest.yaml" > "$top/$guest/up"
  got=$(inside sh -c 'sha256sum < "$GUEST/data/file"')
  [ "$got" = "$wanted" ] || { echo "guest $guest read something else"; exit 1; }
  inside sh -c 'exec 3< "$GUEST/data/file" && "$1" status' guest "$nearmount" > "$top/$guest/status"
  echo "guest $guest: interfaces: $(inside ip -br link 2>/dev/null | sed 's/ .*//' | tr '\n' ' ')"
  sed -n '2,3p; /open files/p' "$top/$guest/status" | sed "s|$top||g; s|^|guest $guest:|"
  inside cp "$top/$guest/data/file" "$top/$guest/data/inbox/$guest"
  [ "$(sha256sum < "$top/host/data/inbox/$guest")" = "$wanted" ] || { echo "guest $guest wrote something else"; exit 1; }
done
echo "both guests read the same $(stat -c %s "$top/host/data/file") bytes, and wrote them to files of their own"

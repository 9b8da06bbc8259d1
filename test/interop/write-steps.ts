/** What a client does to an empty directory, and to a plain one beside it: afterwards both are alike. */

/** Shell scripts by name; the current directory is the one that is changed. Each fails with its first failing command. */
export function writeSteps(from: { archive: string; random: string }): Readonly<Record<string, string>> {
  const steps = {
    untar: `tar xpf ${from.archive}`,
    copy: 'cp -a source copy',
    direct: `dd if=${from.random} of=direct oflag=direct bs=64k status=none`,
    synchronous: `dd if=${from.random} of=synchronous oflag=sync bs=10k count=30 status=none
      dd if=${from.random} of=flushed conv=fsync bs=1M status=none`,
    append: 'for line in $(seq 200); do echo "line $line" >>appended; done',
    sparse: `truncate -s 5G sparse; printf end | dd of=sparse bs=1 seek=4294967297 conv=notrunc status=none
      truncate -s 4294967300 sparse`,
    rename: `mkdir names names/a names/b; echo one >names/one; echo two >names/two; mv names/one names/a/moved
      mv names/two names/a/moved; mv names/a names/b/a; mv -T names/b names/empty; echo "$(ls -R names)" >renamed`,
    link: `ln appended linked; ln -s appended symbolic; ln -s "$(printf x%.0s $(seq 1000))" long-symbolic
      test "$(stat -c %h appended)" = 2`,
    remove: `mkdir -p gone/deeper; for each in $(seq 100); do echo $each >gone/$each; done
      if rmdir gone; then exit 1; fi; rm -r gone; if test -e gone; then exit 1; fi`,
    exclusive: `set -C; echo first >exclusive; if (echo second >exclusive); then exit 1; fi`,
    truncate: `cp flushed shorter; truncate -s 1000001 shorter; : >emptied; cp appended emptied; : >emptied`,
    attributes: `cp appended owned; chown 1000:1001 owned; chmod 6751 owned; chmod 2775 names; mkdir names/inherits
      touch -d '2001-02-03 04:05:06.123456789' owned; cp -p owned times; chown -h 7:8 symbolic`,
    special:
      'mkdir special; mkfifo -m 640 special/fifo; mknod special/character c 1 3; mknod special/block b 7 200',
    // The name is gone, the file is not. (A guest that has just booted has no /dev/fd.)
    unlinked: `echo kept >unlinked; exec 3<>unlinked; rm unlinked; echo more >&3; test "$(stat -L -c %s /proc/self/fd/3)" = 5
      exec 3>&-; if test -e unlinked; then exit 1; fi`,
  };
  return Object.fromEntries(Object.entries(steps).map(([name, script]) => [name, `set -e; ${script}`]));
}

/**
 * Lists a tree whose changes happened at different times here and there: without times, and with those that were set.
 *
 * @param timed what find(1) is to list with its time
 */
export const listing = (timed = ''): string => `export LC_ALL=C
  find . -type d -printf '%P %y %m %n %U %G\\n' -o -printf '%P %y %m %n %U %G %s %l\\n' | sort
  find source copy owned times ${timed} -printf '%P %T@\\n' | sort
  ls -ln special | awk '{ print $1, $3, $4, $5, $6 }' | grep '^[bc]'
  find . -type f -size -100M -print0 | sort -z | xargs -0 sha256sum; tail -c 10 sparse | od -An -tx1`;

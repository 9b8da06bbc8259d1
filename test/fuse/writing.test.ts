/**
 * Both drivers alone, on a real mount of a file system in memory: ordinary programs change things, and what they read
 * back afterwards is what they wrote.
 */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { noFuseNative } from '../support/fuse-native.ts';
import { mountMemory } from '../support/memory-mount.ts';
import { cannotMountHere } from '../support/mounts.ts';

const drivers = [
  { driver: 'kernel', skip: cannotMountHere },
  { driver: 'fuse-native', skip: cannotMountHere || noFuseNative },
] as const;

for (const { driver, skip } of drivers) {
  t.test(`driver=${driver}`, { skip }, async (t) => {
    const mount = await mountMemory(t, driver);
    const works = async (script: string, expected: string, message: string): Promise<void> => {
      const { status, stdout, stderr } = await mount.run(script);
      t.same({ status, stdout, stderr }, { status: 0, stdout: expected, stderr: '' }, message);
    };
    t.match(
      readFileSync('/proc/mounts', 'utf8'),
      new RegExp(`^memory ${mount.point} fuse.nearmount rw,nosuid`, 'm'),
    );

    await works(
      'echo one >a; echo two >>a; cat a; echo three >a; cat a',
      'one\ntwo\nthree\n',
      'append, O_TRUNC',
    );
    await works(
      'mkdir d; cp a d/b; mv d/b d/c; ln d/c d/e; ln -s c d/s; mkfifo d/p; mknod d/z c 300 70000; rm d/e; ' +
        'cat d/s; readlink d/s; stat -c "%F %t %T %h" d/z d/p d/c; mv d dd; cat dd/c; rm -r dd; ls',
      'three\nc\ncharacter special file 12c 11170 1\nfifo 0 0 1\nregular file 0 0 1\nthree\na\n',
      'names',
    );
    await works(
      'mkdir n; umask 027; touch n/f; mkdir n/d; mkfifo n/p; umask 0; touch n/g; stat -c %a n/*; rm -r n',
      '750\n640\n666\n640\n',
      'umask',
    );
    await works(
      'chmod 6751 a; stat -c %a a; chown 5:6 a; stat -c %u:%g a; chgrp 7 a; stat -c %u:%g a',
      '6751\n5:6\n5:7\n',
      'mode and owners',
    );
    await works(
      'touch -d "2001-02-03 04:05:06.789" a; touch -r a b; touch -a -d 1999-01-01 b; TZ=UTC stat -c "%y" a; rm b',
      '2001-02-03 04:05:06.789000000 +0000\n',
      'times',
    );
    await works(
      "python3 -c 'import os; os.utime(\"a\", (10**9, 1.1e9))'; stat -c '%X %Y' a",
      '1000000000 1100000000\n',
      'two times',
    );
    await works(
      'head -c 20000000 /dev/urandom >../random; cp ../random r; cmp r ../random; ' +
        'dd if=../random of=r bs=1000000 oflag=direct status=none; cmp r ../random; ' +
        'dd if=../random of=r bs=1M conv=notrunc,fsync status=none; cmp r ../random; ' +
        'for n in 1 2 3; do cp r r$n & done; wait; cmp r1 r; cmp r2 r; cmp r3 r; rm r?',
      '',
      'many bytes',
    );
    await works(
      'truncate -s 5G big; dd if=../random of=big bs=1M seek=4500 count=1 conv=notrunc status=none; stat -c %s big; ' +
        'dd if=big bs=1M skip=4500 count=1 status=none | cmp - -n 1M ../random; truncate -s 10 big; od -An -tx1 big; rm big',
      '5368709120\n 00 00 00 00 00 00 00 00 00 00\n',
      'beyond 4 GiB',
    );
    const script = `
import mmap, os
f = os.open("m", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.ftruncate(f, 8192)
m = mmap.mmap(f, 8192)
m[5000:5005] = b"bytes"
m.flush()
m.close()
os.unlink("m")
os.pwrite(f, b"more", 5005)
os.fsync(f)
print(os.pread(f, 9, 5000).decode(), os.fstat(f).st_size)
os.close(f)
print(os.path.exists("m"))
try:
    os.open("a", os.O_RDWR | os.O_CREAT | os.O_EXCL)
except FileExistsError:
    print("exists")
`;
    await works(`python3 -c '${script}'`, 'bytesmore 8192\nFalse\nexists\n', 'mapped, unlinked, exclusive');
    if (driver === 'kernel') {
      await works(
        'setfattr -n user.a -v b a && cp -a a x && getfattr --only-values -n user.a x && rm x',
        'b',
        'cp -a carries attributes',
      );
    } else {
      const xattr = await mount.run('setfattr -n user.a -v b a');
      t.same([xattr.status, xattr.stderr], [1, 'setfattr: a: Operation not supported\n']);
      await works(
        'setfattr -n user.a -v b ../random && cp -a ../random x && rm x',
        '',
        'cp -a does without attributes',
      );
    }
    await works(
      'rsync -aHA ../random x; rsync -aHAi ../random x; rm x',
      '',
      'rsync sends nothing the second time',
    );

    mount.operations();
    await works('dd if=/dev/zero of=s bs=4k count=2 oflag=sync status=none', '', 'O_SYNC');
    const asked = mount.operations();
    t.equal(asked.filter((name) => name === 'fsync').length, 2, 'every O_SYNC write is followed by an FSYNC');
    t.ok(asked.includes('flush'), 'a close asks whether all went well');
    await works('cat s >/dev/null; sync s', '', 'fsync of a file open for reading');

    const { status } = await mount.run(
      'mount -i -o remount,ro . && ! touch t 2>../said && grep -c Read-only ../said',
    );
    t.equal(status, 0, 'remounted read-only');
    await works('mount -i -o remount,rw . && touch t && rm t', '', 'and writable again');
  });

  t.test(`driver=${driver}, read-only`, { skip }, async (t) => {
    const mount = await mountMemory(t, driver, 'ro');
    t.match(
      readFileSync('/proc/mounts', 'utf8'),
      new RegExp(`^memory ${mount.point} fuse.nearmount ro,nosuid`, 'm'),
    );
    mount.operations();
    const { status, stderr } = await mount.run('touch new');
    t.equal(status, 1);
    t.match(stderr, /Read-only file system/);
    t.notOk(mount.operations().includes('create'), 'the kernel does not ask');
  });
}

t.test('who waits for a server that does not answer can be killed', { skip: cannotMountHere }, async (t) => {
  for (const what of ['hang-write', 'hang-flush']) {
    const mount = await mountMemory(t, 'kernel', what);
    const { status, stderr } = await mount.run(
      'timeout -s KILL 1 dd if=/dev/zero of=f count=1 status=none; echo $? >&2',
    );
    t.same([status, stderr.trim().split('\n').at(-1)], [0, '137'], what);
  }
});

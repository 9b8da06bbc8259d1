/** cp, rsync and tar keep extended attributes, ACLs and holes, to a mount and back; python3 copies within the server. */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { compareTrees, onMounts, run, skipWithoutPrograms } from './writable-mount.ts';

const skip = skipWithoutPrograms({
  setfattr: 'attr',
  setfacl: 'acl',
  rsync: 'rsync',
  tar: 'tar',
  python3: 'python3',
});

const MAKE = `
mkdir source source/inheriting
echo text >source/file; setfattr -n user.note -v value source/file; setfattr -n user.empty source/file
setfacl -m u:1000:rw,g:7:r,m::r source/file
setfacl -m u:1001:rx source/inheriting; setfacl -d -m u:1002:rwx source/inheriting
setfattr -n user.bytes -v 0xff00fe source/inheriting
echo inherits >source/inheriting/file
truncate -s 20M source/sparse; echo end >>source/sparse; fallocate -p -l 1M source/sparse
ln source/file source/hard`;

/** Everything that these programs are to keep, as text. */
async function facts(t: Test, directory: string): Promise<string> {
  const attributes = await run(t, directory, ['sh', '-c', 'getfattr -Rhd -m "^user" -e hex . | sort']);
  const acls = await run(t, directory, ['getfacl', '-Rn', '.']);
  t.match(attributes, /user\.note=0x76616c7565/);
  t.match(acls, /default:user:1002:rwx/);
  return acls + attributes;
}

onMounts(t, 'attributes, ACLs and holes', skip, async (t, { point, disk, plain }) => {
  await run(t, plain, ['bash', '-ec', MAKE]);
  const source = join(plain, 'source');
  const wanted = await facts(t, source);
  const rsync = ['rsync', '-aHAXS', '--itemize-changes'];
  const tar = ['tar', '--xattrs', '--xattrs-include=user.*', '--acls', '--sparse'];
  const archive = join(plain, 'archive.tar');
  const ways: Record<string, (from: string, to: string) => Promise<unknown>> = {
    'cp -a': (from, to) => run(t, plain, ['cp', '-a', '--sparse=always', from, to]),
    rsync: async (from, to) => {
      await run(t, plain, [...rsync, `${from}/`, `${to}/`]);
      t.equal(await run(t, plain, [...rsync, `${from}/`, `${to}/`]), '', 'the second sends nothing');
    },
    tar: async (from, to) => {
      await run(t, plain, [...tar, '-cf', archive, '-C', from, '.']);
      await run(t, plain, ['mkdir', to]);
      await run(t, plain, [...tar, '-xpf', archive, '-C', to]);
    },
  };
  for (const [name, copy] of Object.entries(ways)) {
    const [there, back] = [`there-${name}`, `back-${name}`];
    await copy(source, join(point, there));
    t.equal(await facts(t, join(disk, there)), wanted, `${name}: the server has them`);
    t.equal(await facts(t, join(point, there)), wanted, `${name}: the mount shows them`);
    await compareTrees(t, source, join(disk, there));
    const blocks = await run(t, disk, ['stat', '-c', '%b', `${there}/sparse`]);
    t.ok(Number(blocks) < 100, `${name}: ${blocks.trim()} blocks, so holes stay holes`);
    await copy(join(point, there), join(plain, back));
    t.equal(await facts(t, join(plain, back)), wanted, `${name}: and back`);
    await compareTrees(t, source, join(plain, back));
  }

  const python = `
import os
a = os.open("of-the-mount", os.O_RDWR | os.O_CREAT); b = os.open("copy", os.O_RDWR | os.O_CREAT)
os.write(a, bytes(range(256)) * 4096)
print(os.copy_file_range(a, b, 100_000, 7, 3), os.fstat(b).st_size, os.pread(b, 5, 2) == bytes([0, 7, 8, 9, 10]))
print(os.lseek(b, 0, os.SEEK_HOLE), os.listxattr("there-cp -a/file") != [])`;
  t.equal(await run(t, point, ['python3', '-c', python]), '100000 100003 True\n100003 True\n');
});

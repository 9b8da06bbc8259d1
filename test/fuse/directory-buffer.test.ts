import fc from 'fast-check';
import t from 'tap';
import { fuse_dirent, fuse_entry_out } from '../../src/fuse/abi.ts';
import { DirectoryBuffer } from '../../src/fuse/directory-buffer.ts';

interface Read {
  readonly name: string;
  readonly ino: bigint;
  readonly off: bigint;
  readonly type: number;
  readonly nodeId: bigint | undefined;
}

/** Reads a reply the way fs/fuse/readdir.c does. */
function parse(bytes: Uint8Array, plus: boolean): Read[] {
  const found: Read[] = [];
  for (let at = 0; at < bytes.length;) {
    const start = at;
    const nodeId = plus ? fuse_entry_out.decode(bytes.subarray(at)).nodeid : undefined;
    if (plus) at += fuse_entry_out.sizeBytes;
    const { ino, off, namelen, type } = fuse_dirent.decode(bytes.subarray(at));
    const name = Buffer.from(
      bytes.subarray(at + fuse_dirent.sizeBytes, at + fuse_dirent.sizeBytes + namelen),
    );
    if (name.length !== namelen) throw new Error('a name is cut');
    found.push({ name: name.toString('hex'), ino, off, type, nodeId });
    at = start + Math.ceil((at + fuse_dirent.sizeBytes + namelen - start) / 8) * 8;
  }
  return found;
}

const names = fc.array(fc.uint8Array({ minLength: 1, maxLength: 255 }), { maxLength: 40 });

for (const plus of [false, true]) {
  t.test(plus ? 'READDIRPLUS' : 'READDIR', async (t) => {
    fc.assert(
      fc.property(names, fc.integer({ min: 0, max: 6000 }), (list, sizeBytes) => {
        const buffer = new DirectoryBuffer(sizeBytes, plus);
        const taken: Read[] = [];
        for (const [index, name] of list.entries()) {
          const ino = BigInt(index + 100);
          const off = BigInt(index + 1);
          const entry = { nodeId: ino, entryValidMs: 1500, attributes: undefined };
          if (!buffer.add(name, off, ino, 0o100000, plus ? entry : undefined)) break;
          taken.push({
            name: Buffer.from(name).toString('hex'),
            ino,
            off,
            type: 8,
            nodeId: plus ? ino : undefined,
          });
        }
        const bytes = buffer.finish();
        t.ok(bytes.length <= sizeBytes && bytes.length % 8 === 0);
        t.strictSame(parse(bytes, plus), taken);
        const next = list[taken.length];
        if (next === undefined) return;
        const needed = Math.ceil(((plus ? 128 : 0) + 24 + next.length) / 8) * 8;
        t.ok(bytes.length + needed > sizeBytes, 'an entry is refused only when there is no room');
      }),
      { numRuns: 100 },
    );
  });
}

t.test('an entry that is listed only has no node id', async (t) => {
  const buffer = new DirectoryBuffer(4096, true);
  buffer.add(Buffer.from('.'), 1n, 5n, 0o040000);
  t.match(parse(buffer.finish(), true), [{ nodeId: 0n, ino: 5n, type: 4 }]);
});

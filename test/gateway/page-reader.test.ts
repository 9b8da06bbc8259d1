import t from 'tap';
import { Knowledge } from '../../src/gateway/knowledge.ts';
import { attributesOfFattr3 } from '../../src/gateway/attributes.ts';
import { InodeTable } from '../../src/gateway/inodes.ts';
import { MappedFiles } from '../../src/gateway/mapped-files.ts';
import { NameCache } from '../../src/gateway/name-cache.ts';
import { PageReader } from '../../src/gateway/page-reader.ts';
import type { ServerLink } from '../../src/client/link.ts';
import type { MapOutcome, MappedRun, Session } from '../../src/client/session.ts';
import { ATTRIBUTES, caller } from '../client/scripted-server.ts';
import { patternBytes } from '../support/trees.ts';

const MIB = 1024 * 1024;
const RUN_BYTES = 65_536;
const TIMES = { acregminMs: 3_000, acregmaxMs: 60_000, acdirminMs: 30_000, acdirmaxMs: 60_000 };

/** A server that shares the pages of one file, in runs of 64 KiB, and counts the handles that are out. */
function sharing(bytes: number, heldMax?: number) {
  const file = { content: patternBytes(bytes), version: 1, refusal: undefined as string | undefined };
  const maps: [offset: number, count: number][] = [];
  const out = new Set<object>();
  const attributes = () => ({
    ...ATTRIBUTES,
    size: BigInt(file.content.length),
    ctime: { seconds: file.version, nseconds: 0 },
  });
  const session = {
    unmap: (pages: object) => {
      if (!out.delete(pages)) throw new Error('given back twice, or never had');
    },
  } as unknown as Session;
  const recalled = new Set<object>();
  const runAt = (start: number): MappedRun => {
    const { content, version } = file;
    const part = Buffer.from(content.subarray(start, start + RUN_BYTES));
    const pages = {
      lengthBytes: part.length,
      isCurrent: () => !recalled.has(pages) && version === file.version,
      copyTo: (target: Uint8Array, at: number, from: number, length: number) => {
        target.set(part.subarray(from, from + length), at);
      },
    };
    out.add(pages);
    return { offset: BigInt(start), pages: pages as unknown as MappedRun['pages'] };
  };
  const map = async (_handle: Uint8Array, offset: bigint, count: number) => {
    maps.push([Number(offset), count]);
    await new Promise(setImmediate);
    const runs: MappedRun[] = [];
    const end = Math.min(Number(offset) + count, file.content.length);
    const outcome = (): MapOutcome => {
      if (file.refusal !== undefined)
        return { kind: 'bytes', reason: file.refusal, attributes: attributes() };
      for (let at = Number(offset) - (Number(offset) % RUN_BYTES); at < end; at += RUN_BYTES)
        runs.push(runAt(at));
      return { kind: 'mapped', runs, eof: end === file.content.length, attributes: attributes() };
    };
    return { session, outcome: outcome() };
  };
  const link = { map } as unknown as ServerLink;
  const inodes = new InodeTable(Buffer.from('root'), attributesOfFattr3(ATTRIBUTES), TIMES);
  const knowledge = new Knowledge(link, new NameCache(10), TIMES);
  const inode = inodes.intern(Buffer.from('file'), attributesOfFattr3(attributes()));
  inode.open = { files: 1, writers: 0, held: undefined, pages: undefined, why: 'test' };
  const files = new MappedFiles(link, knowledge, heldMax);
  const learn = (): void => knowledge.learn(inode, attributes());
  const recallAll = (): void => {
    for (const pages of out) recalled.add(pages);
  };
  return {
    file,
    maps,
    out,
    files,
    inode,
    learn,
    recallAll,
    reader: () => new PageReader(files.of(inode), caller()),
  };
}

/** As the gateway reads: what is held at once, else with the calls it takes. */
async function read(reader: PageReader, offset: number, size: number): Promise<Buffer> {
  const held = reader.readHeld(BigInt(offset), size);
  const bytes = held ?? (await reader.read(BigInt(offset), size, false));
  if (!(bytes instanceof Uint8Array)) throw new Error(bytes.reason);
  return Buffer.from(bytes);
}

t.test('a sequential reader finds its pages mapped, and a second one asks nothing', async (t) => {
  const { file, maps, reader, files } = sharing(10 * MIB + 5);
  const first = reader();
  for (let at = 0; at < file.content.length; at += 131_072) {
    const bytes = await read(first, at, 131_072);
    if (!bytes.equals(file.content.subarray(at, at + 131_072))) t.fail(`wrong bytes at ${at}`);
  }
  t.same(await read(first, file.content.length, 10), Buffer.alloc(0), 'nothing behind the end');
  t.ok(maps.length <= 8, `${maps.length} calls`);
  t.equal(files.bytes, file.content.length);
  const before = maps.length;
  const second = reader();
  for (const at of [5 * MIB, 0, 3, 10 * MIB, 1_234_567]) {
    const held = second.readHeld(BigInt(at), 200_000);
    t.ok(held !== undefined && Buffer.from(held).equals(file.content.subarray(at, at + 200_000)));
  }
  t.equal(maps.length, before);
});

t.test('reads in places map what they need', async (t) => {
  const { file, maps, reader } = sharing(100 * MIB);
  const one = reader();
  for (const at of [50 * MIB + 7, 90 * MIB, 20 * MIB]) {
    t.ok((await read(one, at, 4096)).equals(file.content.subarray(at, at + 4096)));
  }
  t.ok(
    maps.every(([, count]) => count <= 131_072),
    JSON.stringify(maps),
  );
});

t.test('recalled pages are asked for again; a change is seen as one version', async (t) => {
  const { file, maps, reader, recallAll, learn, out } = sharing(MIB);
  const one = reader();
  await read(one, 0, MIB);
  recallAll();
  const before = maps.length;
  t.ok((await read(one, 0, MIB)).equals(file.content));
  t.ok(maps.length > before);
  file.content = patternBytes(MIB / 2, 9);
  file.version += 1;
  learn();
  t.equal(one.readHeld(0n, 100), undefined, 'what is old is not read');
  t.ok((await read(one, 0, MIB)).equals(file.content));
  t.ok(out.size > 0);
});

t.test(
  'handles are given back: when room is needed, behind a long read, and when asked for twice',
  async (t) => {
    const { file, reader, out, files } = sharing(24 * MIB, 12 * MIB);
    const one = reader();
    for (let at = 0; at < file.content.length; at += MIB) await read(one, at, MIB);
    t.ok(files.bytes <= 12 * MIB, `${files.bytes} bytes are held`);
    t.equal(out.size * RUN_BYTES, files.bytes, 'and no handle more');
    const direct = await one.read(BigInt(23 * MIB), 1000, true);
    t.ok(
      direct instanceof Uint8Array &&
        Buffer.from(direct).equals(file.content.subarray(23 * MIB, 23 * MIB + 1000)),
    );
    t.equal(out.size * RUN_BYTES, files.bytes, 'a handle that was had already went back');
  },
);

t.test('bytes instead of pages have a reason, which is not asked for again at once', async (t) => {
  const { file, maps, reader } = sharing(MIB);
  file.refusal = 'the pool is empty';
  const one = reader();
  t.same(await one.read(0n, 100, false), { reason: 'the pool is empty' });
  t.same(await one.read(0n, 100, false), { reason: 'the pool is empty' });
  t.equal(maps.length, 1);
  t.match(await one.read(2n ** 62n, 100, false), { reason: /beyond/ });
});

t.test('a server that recalls everything at once does not hold up a reader', async (t) => {
  const { reader, recallAll } = sharing(MIB);
  const restless = setInterval(recallAll, 0);
  t.teardown(() => {
    clearInterval(restless);
  });
  const one = reader();
  let ended = 0;
  for (let round = 0; round < 20; round += 1) {
    const answer = await one.read(0n, 4096, true);
    ended += 1;
    if (!(answer instanceof Uint8Array)) t.match(answer.reason, /recalled|other pages/);
  }
  t.equal(ended, 20, 'every read has an end');
});

/** Opens for writing beside grants: the kernel mixes no kinds of opens of one inode. */
import { constants, statSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import type { GrantOutcome } from '../../src/client/session.ts';
import { ROOT_NODE_ID, type KernelServices, type Outcome } from '../../src/gateway/operations.ts';
import { context, keepRunning, mountBefore, writeData, WritingServer } from './writing-server.ts';

const EINTR = 4;
const EIO = 5;
const ESTALE = 116;
const EOPNOTSUPP = 95;
const STAT = statSync(import.meta.filename, { bigint: true });

function answered<T>(outcome: Outcome<T>): T {
  if (typeof outcome === 'number') throw new Error(`errno ${outcome}`);
  return outcome;
}

/** A near server: files are granted, and the kernel takes them for passthrough, or not. */
async function near(hasPassthrough: boolean) {
  const server = new WritingServer();
  server.replace(Buffer.from('as it was'));
  const mount = await mountBefore(server);
  const { gateway, link } = mount;
  const out = { grants: 0, backings: 0 };
  const kernel: KernelServices = {
    openBacking: () => {
      if (!hasPassthrough) return EOPNOTSUPP;
      out.backings += 1;
      return { backingId: 7 };
    },
    closeBacking: () => {
      out.backings -= 1;
    },
    invalidateAttributes: () => undefined,
  };
  gateway.init(kernel);
  link.grant = async () => {
    out.grants += 1;
    const file = {
      descriptor: 0,
      status: () => ({ ...STAT, size: BigInt(server.memory.length) }),
      read: (offset: bigint, size: number) => server.memory.subarray(Number(offset), Number(offset) + size),
      release: () => {
        out.grants -= 1;
      },
    };
    const outcome = { kind: 'granted', file, session: link.session, attributes: server.attributes() };
    return outcome as unknown as GrantOutcome;
  };
  const lookup = async () =>
    answered(await gateway.lookup(ROOT_NODE_ID, Buffer.from('file'), context())).nodeId;
  const read = async (file: bigint) =>
    Buffer.concat(answered(await gateway.read(file, 0n, 100, context()))).toString();
  return { ...mount, server, out, lookup, read };
}

t.before(() => {
  keepRunning(t);
});

t.test('a file that is passed through gets a new inode for its writer', async (t) => {
  const { gateway, server, nodeId, out, lookup, read } = await near(true);
  const reader = answered(await gateway.open(nodeId, constants.O_RDONLY, context()));
  t.equal(reader.backingId, 7);
  t.equal(await gateway.open(nodeId, constants.O_RDWR, context()), ESTALE);
  const again = await lookup();
  t.not(again, nodeId);
  const writer = answered(await gateway.open(again, constants.O_RDWR, context()));
  t.equal(writer.backingId, undefined);
  t.same(gateway.status().openFiles, { passthrough: 1, mapped: 0, wire: 1 });
  const data = writeData(Buffer.from('changed'));
  t.same(answered(await gateway.write(writer.fileHandle, 0n, data, 0, context())), { writtenBytes: 7 });
  t.equal(
    server.memory.toString(),
    'changedas',
    'whom the kernel reads to sees it: at the server before the answer',
  );
  const second = answered(await gateway.open(again, constants.O_RDONLY, context()));
  t.equal(second.backingId, undefined, 'who comes later reads by wire as well');
  t.equal(await read(second.fileHandle), 'changedas');
  t.equal(answered(await gateway.open(nodeId, constants.O_RDONLY, context())).backingId, 7);
  t.equal(await gateway.flush(writer.fileHandle, context()), 0);
  for (const file of [1n, 2n, 3n, 4n]) gateway.release(file);
  for (let turns = 0; turns < 5; turns += 1) await turn();
  t.same(out, { grants: 0, backings: 0 }, 'nothing is kept of a retired inode');
  t.equal(await gateway.open(nodeId, constants.O_RDONLY, context()), ESTALE, 'the kernel has to look again');
  t.equal(
    answered(await gateway.open(again, constants.O_RDONLY, context())).backingId,
    7,
    'passed through again',
  );
});

t.test('a file that is mapped is read by wire once somebody writes', async (t) => {
  const { gateway, server, nodeId, out, read } = await near(false);
  const reader = answered(await gateway.open(nodeId, constants.O_RDONLY, context())).fileHandle;
  t.equal(await read(reader), 'as it was');
  t.equal(gateway.status().mappedBytes, 9n);
  const writer = answered(await gateway.open(nodeId, constants.O_WRONLY, context())).fileHandle;
  const data = writeData(Buffer.from('is'));
  await gateway.write(writer, 3n, data, 0, context());
  t.equal(server.memory.toString(), 'as it was', 'written behind');
  t.equal(await read(reader), 'as is was');
  t.equal(gateway.status().mappedBytes, 9n);
  const size = { size: 5n };
  t.equal(
    answered(await gateway.setattr(nodeId, { ...size, fileHandle: writer }, context())).attributes.size,
    5n,
  );
  t.equal(await read(reader), 'as is');
  gateway.release(reader);
  gateway.release(writer);
  for (let turns = 0; turns < 5; turns += 1) await turn();
  t.equal(out.grants, 0);
});

t.test('a mapped file that somebody writes keeps a name until its last close', async (t) => {
  const { gateway, server, nodeId } = await near(false);
  const reader = answered(await gateway.open(nodeId, constants.O_RDONLY, context())).fileHandle;
  const { fileHandle } = answered(await gateway.open(nodeId, constants.O_WRONLY, context()));
  t.equal(await gateway.unlink(ROOT_NODE_ID, Buffer.from('file'), context()), 0);
  t.strictSame(
    server.calls.filter((name) => name === 'REMOVE' || name === 'RENAME'),
    ['RENAME'],
    'WRITE goes by the handle, which is good as long as there is a name',
  );
  gateway.release(fileHandle);
  gateway.release(reader);
  while (!server.calls.includes('REMOVE')) await turn();
});

t.test('a failed truncation leaves what an earlier open still writes in order', async (t) => {
  const server = new WritingServer();
  const { gateway, nodeId } = await mountBefore(server);
  let release = (): void => undefined;
  server.hold = new Promise((resolve) => {
    release = resolve;
  });
  const writeAll = async (text: string): Promise<bigint> => {
    const { fileHandle } = answered(await gateway.open(nodeId, constants.O_WRONLY, context()));
    await gateway.write(fileHandle, 0n, writeData(Buffer.from(text)), 0, context());
    return fileHandle;
  };
  const interrupt = new AbortController();
  const old = await writeAll('older');
  const closing = gateway.flush(old, context(interrupt.signal));
  interrupt.abort();
  t.equal(await closing, EINTR);
  gateway.release(old);
  await turn();
  const again = new AbortController();
  const truncating = gateway.open(nodeId, constants.O_WRONLY | constants.O_TRUNC, context(again.signal));
  await turn();
  again.abort();
  t.equal(await truncating, EINTR);
  const newer = await writeAll('newer');
  const flushed = gateway.flush(newer, context());
  for (let turns = 0; turns < 5; turns += 1) await turn();
  t.equal(server.calls.filter((name) => name === 'WRITE').length, 1, 'the second waits for the first');
  release();
  t.equal(await flushed, 0);
  t.equal(server.disk.toString(), 'newer');
});

t.test('after a truncation without an answer the length is asked for', async (t) => {
  const server = new WritingServer();
  server.replace(Buffer.from('content'));
  const { gateway, nodeId } = await mountBefore(server, { hard: false });
  server.dieAt = { calls: 1, isDone: true };
  server.isDown = true;
  t.equal(await gateway.setattr(nodeId, { size: 0n }, context()), EIO);
  t.equal(server.disk.length, 0, 'it was done all the same');
  server.isDown = false;
  const { attributes } = answered(await gateway.getattr(nodeId, context()));
  t.equal(attributes.size, 0n);
});

t.test('a reply that was overtaken by later writes does not bring old attributes back', async (t) => {
  const server = new WritingServer();
  const { gateway, nodeId } = await mountBefore(server);
  const { fileHandle } = answered(await gateway.open(nodeId, constants.O_WRONLY, context()));
  let release = (): void => undefined;
  server.lateReply = new Promise((resolve) => {
    release = resolve;
  });
  const linking = gateway.link(nodeId, ROOT_NODE_ID, Buffer.from('second'), context());
  while (!server.calls.includes('LINK')) await turn();
  await gateway.write(fileHandle, 0n, writeData(Buffer.from('longer')), 0, context());
  t.equal(await gateway.flush(fileHandle, context()), 0);
  release();
  t.equal(answered(await linking).attributes?.attributes.size, 6n);
  t.equal(answered(await gateway.getattr(nodeId, context())).attributes.size, 6n);
});

t.test('the last name is kept for a writer, also where it is remembered with the inode before', async (t) => {
  const { gateway, server, nodeId, lookup } = await near(true);
  const second = Buffer.from('second');
  answered(await gateway.open(nodeId, constants.O_RDONLY, context()));
  answered(await gateway.link(nodeId, ROOT_NODE_ID, second, context()));
  t.equal(await gateway.open(nodeId, constants.O_RDWR, context()), ESTALE);
  answered(await gateway.open(await lookup(), constants.O_RDWR, context()));
  t.equal(await gateway.unlink(ROOT_NODE_ID, second, context()), 0);
  t.notOk(server.calls.includes('REMOVE'), 'to the server it was the only name all the time');
});

t.test('a file kept from its last open is given back when a writer comes', async (t) => {
  const { gateway, nodeId, out } = await near(true);
  gateway.release(answered(await gateway.open(nodeId, constants.O_RDONLY, context())).fileHandle);
  await turn();
  t.equal(out.grants, 1, 'kept');
  t.equal(answered(await gateway.open(nodeId, constants.O_WRONLY, context())).backingId, undefined);
  t.equal(out.grants, 0);
  gateway.destroy();
});

/** Files that the kernel writes past the gateway: what the gateway knows of them, and what it does itself. */
import {
  appendFileSync,
  chmodSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import type { Test } from 'tap';
import type { GrantOutcome, GrantWish } from '../../src/client/session.ts';
import { GrantedFile } from '../../src/fgdp/granted-file.ts';
import { ROOT_NODE_ID, type Outcome } from '../../src/gateway/operations.ts';
import type { fattr3 } from '../../src/nfs3/types.ts';
import { context, keepRunning, mountBefore, writeData, WritingServer } from './writing-server.ts';

const EIO = 5;
const EBADF = 9;
const EACCES = 13;
const EINVAL = 22;
const BACKING = 7;
const NANOSECONDS = 1_000_000_000n;
const { O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = constants;
const READ = 1;
const CHANGE = 0x0c;

function answered<T>(outcome: Outcome<T>): T {
  if (typeof outcome === 'number') throw new Error(`errno ${outcome}`);
  return outcome;
}

/** As the server tells of a file of this disk. */
function attributesOf(path: string, others: fattr3): fattr3 {
  const { mode, uid, gid, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
  const time = (ns: bigint): fattr3['mtime'] => ({
    seconds: Number(ns / NANOSECONDS),
    nseconds: Number(ns % NANOSECONDS),
  });
  return {
    ...others,
    mode: Number(mode) & 0o7777,
    uid: Number(uid),
    gid: Number(gid),
    size,
    mtime: time(mtimeNs),
    ctime: time(ctimeNs),
  };
}

/** A near server that grants a file of this disk, for writing. */
async function near(t: Test, access = READ | CHANGE) {
  const path = join(t.testdir({ file: 'as it was' }), 'file');
  const server = new WritingServer();
  const mount = await mountBefore(server);
  const { gateway, link, nodeId } = mount;
  Object.defineProperty(link.session, 'canGrant', { value: true });
  const files: GrantedFile[] = [];
  const wishes: GrantWish[] = [];
  link.grant = (_handle, wish) => {
    wishes.push(wish);
    const file = new GrantedFile(BigInt(files.length + 1), openSync(path, 'r'), () => undefined);
    files.push(file);
    const outcome: GrantOutcome = {
      kind: 'granted',
      file,
      handle: { shared_file: 1n, offset: 0n, length: 9n, generation: 1n },
      session: link.session,
      attributes: attributesOf(path, server.attributes()),
      writable: true,
      access,
    };
    return Promise.resolve(outcome);
  };
  gateway.init({
    openBacking: () => ({ backingId: BACKING }),
    closeBacking: () => undefined,
    invalidateAttributes: () => undefined,
  });
  server.calls.length = 0;
  t.teardown(() => {
    gateway.destroy();
  });
  const open = async (flags: number) => answered(await gateway.open(nodeId, flags, context()));
  return { ...mount, server, path, files, wishes, open };
}

t.before(() => {
  keepRunning(t);
});

t.test('readers and writers share one file, and no call is needed for it', async (t) => {
  const { gateway, server, nodeId, wishes, open } = await near(t);
  t.equal((await open(O_RDONLY)).backingId, BACKING);
  t.equal((await open(O_RDWR)).backingId, BACKING);
  const { fileHandle } = await open(O_WRONLY);
  t.same(wishes, [{ reads: true, writes: false, writable: true }], 'asked for once');
  t.same(server.calls, []);
  t.same(gateway.status().openFiles, { passthrough: 3, mapped: 0, wire: 0 });
  const data = writeData(Buffer.from('x'));
  t.equal(await gateway.write(fileHandle, 0n, data, 0, context()), EBADF, 'its bytes never come here');
  t.equal(answered(await gateway.getattr(nodeId, context())).attributes.size, 9n);
});

t.test('who may not write is refused by what the grant says', async (t) => {
  const { gateway, server, nodeId, open } = await near(t, READ);
  await open(O_RDONLY);
  server.rights = READ;
  t.equal(await gateway.open(nodeId, O_RDWR, context()), EACCES);
  t.same(server.calls, ['SETATTR'], 'asked only why: a read-only export says so');
  t.same(gateway.status().openFiles, { passthrough: 1, mapped: 0, wire: 0 });
});

t.test('the file says itself how long it is, at once and after the last close', async (t) => {
  const { gateway, server, nodeId, path, open } = await near(t);
  const { fileHandle } = await open(O_RDWR);
  appendFileSync(path, ' and is');
  const reply = answered(await gateway.getattr(nodeId, context()));
  t.equal(reply.attributes.size, 16n);
  t.equal(reply.validMs, 0, 'the kernel asks again: nobody tells when somebody else writes');
  appendFileSync(path, '!');
  t.equal(await gateway.flush(fileHandle, context()), 0);
  gateway.release(fileHandle);
  for (let turns = 0; turns < 3; turns += 1) await turn();
  const after = answered(await gateway.getattr(nodeId, context()));
  t.equal(after.attributes.size, 17n);
  t.ok(after.validMs > 0);
  t.same(server.calls, [], 'and no close waits for the server');
});

t.test('an open file is cut without asking, a path is not', async (t) => {
  const { gateway, server, nodeId, path, open } = await near(t);
  const { fileHandle } = await open(O_RDWR);
  chmodSync(path, 0o400);
  const cut = answered(await gateway.setattr(nodeId, { size: 2n, fileHandle }, context()));
  t.equal(cut.attributes.size, 2n);
  t.equal(readFileSync(path, 'utf8'), 'as');
  t.same(server.calls, []);
  answered(await gateway.setattr(nodeId, { size: 1n }, context()));
  t.same(server.calls, ['SETATTR']);
  await open(O_WRONLY | O_TRUNC);
  t.equal(server.calls.filter((name) => name === 'SETATTR').length, 2, 'O_TRUNC is the caller’s own');
});

t.test('fsync is one of the file, and everybody hears once of what the disk says', async (t) => {
  const { gateway, files, open } = await near(t);
  const [one, two] = [await open(O_RDWR), await open(O_RDWR)];
  t.equal(await gateway.fsync(one.fileHandle, true, context()), 0);
  const [file] = files;
  if (file === undefined) throw new Error('nothing was granted');
  const sync = file.sync.bind(file);
  file.sync = () => Promise.reject(Object.assign(new Error('EIO'), { errno: -EIO }));
  t.equal(await gateway.fsync(one.fileHandle, false, context()), EIO);
  file.sync = sync;
  t.equal(await gateway.fsync(one.fileHandle, false, context()), 0, 'told');
  t.equal(await gateway.flush(two.fileHandle, context()), EIO, 'the others hear of it, too');
  t.equal(await gateway.fsync(two.fileHandle, false, context()), 0);
});

t.test('a write takes set-id bits off, whoever owns the file', async (t) => {
  const { gateway, server, nodeId, path, open } = await near(t);
  await open(O_WRONLY);
  chmodSync(path, 0o6755);
  const { attributes } = answered(await gateway.setattr(nodeId, { dropsSetIds: true }, context()));
  t.equal(attributes.mode & 0o7777, 0o755);
  t.equal(statSync(path).mode & 0o7777, 0o755);
  t.same(server.calls, []);
});

t.test('a file without a name is changed here: the server knows it no more', async (t) => {
  const { gateway, server, nodeId, path, open } = await near(t);
  const { fileHandle } = await open(O_RDWR);
  const fd = openSync(path, 'r');
  t.teardown(() => {
    closeSync(fd);
  });
  t.equal(await gateway.unlink(ROOT_NODE_ID, Buffer.from('file'), context()), 0);
  unlinkSync(path);
  t.ok(server.calls.includes('REMOVE'), 'and keeps no other name meanwhile');
  server.isFileGone = true;
  const mtime = { seconds: 5, nanoseconds: 7 };
  const { attributes } = answered(await gateway.setattr(nodeId, { mode: 0o600, mtime }, context()));
  t.match(attributes, { nlink: 0, mtime });
  t.equal(attributes.mode & 0o7777, 0o600);
  answered(await gateway.setattr(nodeId, { size: 3n }, context()));
  t.equal(readFileSync(fd, 'utf8'), 'as ');
  t.equal((await open(O_RDWR)).backingId, BACKING, 'opened again by its descriptor (/proc/PID/fd)');
  const range = { mode: 0, offset: 0n, length: 8_192n };
  t.equal(await gateway.fallocate(fileHandle, range, context()), 0, 'space is had here, too');
  t.equal(answered(await gateway.getattr(nodeId, context())).attributes.size, 8_192n);
  t.equal(await gateway.fallocate(fileHandle, { ...range, length: 0n }, context()), EINVAL);
  t.equal(await gateway.flush(fileHandle, context()), 0);
});

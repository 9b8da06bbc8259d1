/** Opens that are answered ESTALE, so that the kernel looks the name up again: what it believes of the file is old. */
import { constants } from 'node:fs';
import t from 'tap';
import { ROOT_NODE_ID } from '../../src/gateway/operations.ts';
import { context, keepRunning, mountBefore, writeData, WritingServer } from './writing-server.ts';

const ESTALE = 116;
const APPENDING = constants.O_WRONLY | constants.O_APPEND;

t.before(() => {
  keepRunning(t);
});

t.test('an open to append after a change of others has the kernel look the name up again', async (t) => {
  const server = new WritingServer();
  const { gateway, nodeId } = await mountBefore(server);
  const open = async (flags: number, pid = 1) => {
    const opened = await gateway.open(nodeId, flags, { ...context(), pid });
    if (typeof opened === 'object') {
      t.equal(await gateway.flush(opened.fileHandle, context()), 0);
      gateway.release(opened.fileHandle);
    }
    return typeof opened === 'number' ? opened : 0;
  };
  const sizeOf = async () => {
    const entry = await gateway.lookup(ROOT_NODE_ID, Buffer.from('file'), context());
    return typeof entry === 'number' ? entry : Number(entry.attributes?.attributes.size);
  };
  t.equal(await open(APPENDING), 0);
  server.replace(Buffer.from('others'));
  t.equal(await open(constants.O_WRONLY), 0, 'who says where it writes needs no size');
  t.equal(await open(APPENDING), ESTALE);
  t.equal(await sizeOf(), 6);
  t.equal(await open(APPENDING), 0);
  t.equal(await open(APPENDING), 0, 'while nothing changes');

  server.replace(Buffer.from('of others'));
  t.equal(await open(APPENDING), ESTALE);
  t.equal(await sizeOf(), 9);
  server.replace(Buffer.from('again of others'));
  t.equal(await open(APPENDING), 0, 'not twice: the kernel looks once, and programs would see the error');

  // What this mount writes, its kernel knows.
  server.replace(Buffer.from('x'));
  t.equal(await open(APPENDING), ESTALE);
  t.equal(await open(APPENDING, 2), ESTALE, 'each thread for itself');
  t.equal(await sizeOf(), 1);
  t.equal(await open(APPENDING, 2), 0);
  const opened = await gateway.open(nodeId, APPENDING, { ...context(), pid: 1 });
  if (typeof opened === 'number') throw new Error(`errno ${opened}`);
  const { fileHandle } = opened;
  t.same(await gateway.write(fileHandle, 1n, writeData(Buffer.from('yz')), 0, context()), {
    writtenBytes: 2,
  });
  t.equal(await gateway.flush(fileHandle, context()), 0);
  gateway.release(fileHandle);
  t.equal(await open(APPENDING), 0);
  server.replace(Buffer.from('others'));
  t.equal(await open(APPENDING, 0), 0, 'a process of another pid namespace could not be told from the next');
});

t.test('an open of a file that has no name any more has the kernel look the name up again', async (t) => {
  const server = new WritingServer();
  const { gateway, nodeId } = await mountBefore(server);
  for (const flags of [constants.O_RDONLY, constants.O_RDWR]) {
    server.nlink = 0;
    server.replace(Buffer.from('somebody has it open'));
    t.equal(await gateway.open(nodeId, flags, context()), ESTALE);
    server.nlink = 1;
    server.replace(Buffer.from('named'));
    t.type(await gateway.open(nodeId, flags, context()), 'object');
  }
});

/** A name can be opened while others rename onto it: what the kernel's second look finds stays until it is open. */
import { mock } from 'node:test';
import t from 'tap';
import { AWAITED_OPEN_MS } from '../../src/gateway/limits.ts';
import { bytes, context, mountTree, ok, quiet, TreeServer, type Mounted } from './tree-server.ts';

const ROOT = 1n;
const ESTALE = 116;
const SILLY = /^\.nfs[0-9a-f]{24}$/;

const look = async ({ gateway }: Mounted): Promise<bigint> =>
  (await ok(gateway.lookup(ROOT, bytes('target'), context()))).nodeId;

/** Somebody in the same mount renames a new file onto the target. */
async function replace({ gateway, server }: Mounted, name: string): Promise<number> {
  server.add(server.root, name);
  const other = { ...context(), pid: 2 };
  await ok(gateway.lookup(ROOT, bytes(name), other));
  return gateway.rename(ROOT, bytes(name), ROOT, bytes('target'), 0, other);
}

/** The target is replaced between LOOKUP and OPEN. */
async function failToOpen(mounted: Mounted): Promise<void> {
  mounted.server.add(mounted.server.root, 'target');
  const nodeId = await look(mounted);
  await replace(mounted, 'first');
  t.equal(await mounted.gateway.open(nodeId, 0, context()), ESTALE);
}

t.test('what the second look finds can be opened', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server, calls } = mounted;
  await failToOpen(mounted);
  calls();
  const nodeId = await look(mounted);
  t.strictSame(calls(), ['LOOKUP'], 'nothing is taken from memory');
  t.equal(await replace(mounted, 'second'), 0);
  t.match(server.names(), [SILLY, 'target']);
  const { fileHandle } = await ok(gateway.open(nodeId, 0, context()));
  t.equal((await ok(gateway.getattr(nodeId, context()))).attributes.nlink, 0);
  t.strictSame(await gateway.read(fileHandle, 0n, 10, context()), []);
  gateway.release(fileHandle);
  await quiet(mounted);
  t.strictSame(server.names(), ['target']);
  t.not(await look(mounted), nodeId);
  t.equal(await replace(mounted, 'third'), 0);
  t.strictSame(server.names(), ['target'], 'nothing is kept for those who are not about to open it');
});

t.test('what others open and close meanwhile stays', async (t) => {
  const mounted = mountTree(t);
  const { gateway, server } = mounted;
  await failToOpen(mounted);
  const nodeId = await look(mounted);
  const other = { ...context(), pid: 3 };
  const early = await ok(gateway.open(nodeId, 0, other));
  gateway.release(early.fileHandle);
  t.equal(await replace(mounted, 'second'), 0);
  const late = await ok(gateway.open(nodeId, 0, other));
  gateway.release(late.fileHandle);
  await quiet(mounted);
  t.match(server.names(), [SILLY, 'target']);
  const { fileHandle } = await ok(gateway.open(nodeId, 0, context()));
  gateway.release(fileHandle);
  await quiet(mounted);
  t.strictSame(server.names(), ['target']);
});

t.test('a rename that was under way is waited for', async (t) => {
  const server = new TreeServer();
  let answer = (): void => undefined;
  let isHeld = false;
  const mounted = mountTree(t, {
    server,
    script: {
      RENAME: async (args, seen) => {
        if (isHeld) await new Promise<void>((resolve) => (answer = resolve));
        return server.script.RENAME!(args, seen);
      },
    },
  });
  const { gateway } = mounted;
  await failToOpen(mounted);
  isHeld = true;
  const replaced = replace(mounted, 'second');
  await new Promise(setImmediate);
  const looking = look(mounted);
  await new Promise(setImmediate);
  answer();
  t.equal(await replaced, 0);
  const nodeId = await looking;
  const { fileHandle } = await ok(gateway.open(nodeId, 0, context()));
  t.equal((await ok(gateway.getattr(nodeId, context()))).attributes.nlink, 1, 'the one that is there now');
  gateway.release(fileHandle);
});

t.test('who does not come back keeps nothing', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => {
    mock.timers.reset();
  });
  const mounted = mountTree(t);
  const { server } = mounted;
  await failToOpen(mounted);
  await look(mounted);
  t.equal(await replace(mounted, 'second'), 0);
  t.match(server.names(), [SILLY, 'target']);
  mock.timers.tick(AWAITED_OPEN_MS);
  await quiet(mounted);
  t.strictSame(server.names(), ['target']);
  await failToOpenAgain(mounted);
  mock.timers.tick(AWAITED_OPEN_MS);
  await look(mounted);
  t.equal(await replace(mounted, 'fifth'), 0);
  t.strictSame(server.names(), ['target'], 'a look that comes later is not for that OPEN');
});

/** The same with a target that is there. */
async function failToOpenAgain(mounted: Mounted): Promise<void> {
  const nodeId = await look(mounted);
  await replace(mounted, 'fourth');
  t.equal(await mounted.gateway.open(nodeId, 0, context()), ESTALE);
}

/** FGDP's procedures about extended attributes and space, called as the plain functions they are. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { COPY_BYTES_MAX } from '../../src/fgdp/limits.ts';
import { ALLOCATE_MODE, SEEK_WHAT } from '../../src/fgdp/space.ts';
import { FGDP_STAT } from '../../src/fgdp/status.ts';
import { SETXATTR_OPTION } from '../../src/fgdp/xattrs.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import type { Intent } from '../../src/server/client-session.ts';
import { spaceProcedures } from '../../src/server/space-procedures.ts';
import { xattrProcedures } from '../../src/server/xattr-procedures.ts';
import { parseExportOption } from '../../src/store/export-options.ts';
import { serverIdentity } from '../../src/store/identity.ts';
import { lookup } from '../../src/store/operations.ts';
import { Store } from '../../src/store/store.ts';
import { makeDirectory } from '../support/trees.ts';
import { contextOf } from './procedure-call.ts';

const MIB = 1024 * 1024;
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const identity = serverIdentity();

function scene(t: Test, options = '') {
  const directory = makeDirectory(t);
  const trees = ['tree', 'other'].map((name) => {
    const tree = join(directory, name);
    mkdirSync(tree);
    writeFileSync(join(tree, 'f'), 'some text');
    writeFileSync(join(tree, 'g'), 'other text');
    return tree;
  });
  const store = Store.open({
    stateDirectory: join(directory, 'state'),
    exports: [
      parseExportOption(`tree=${trees[0]!},squash=none${options}`),
      parseExportOption(`other=${trees[1]!},squash=none`),
    ],
  });
  t.teardown(() => {
    store.close();
  });
  const handle = (name: string, tree = 'tree') => {
    const root = store.resolve(store.rootHandle(tree));
    return { data: lookup(identity, root, bytes(name)).handle };
  };
  const context = contextOf(identity);
  const path = (name: string): string => join(trees[0]!, name);
  return { store, handle, context, path, xattrs: xattrProcedures(store), space: spaceProcedures(store) };
}

/** Whether the temporary directory keeps extended attributes. */
function keepsXattrs(path: string): boolean {
  try {
    execFileSync('setfattr', ['-n', 'user.try', '-v', '', path], { stdio: 'ignore' });
    execFileSync('setfattr', ['-x', 'user.try', path], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

t.test('extended attributes', async (t) => {
  const { handle, context, path, xattrs } = scene(t);
  if (!keepsXattrs(path('f'))) {
    t.comment('no attribute could be set: apt-get install attr, on a file system that has attributes');
    return;
  }
  const file = handle('f');
  const set = (name: string, value: string, option = SETXATTR_OPTION.EITHER as 0 | 1 | 2, by = context) =>
    xattrs.SETXATTR({ file, option, name: bytes(name), value: bytes(value) }, by);
  const get = (name: string) => xattrs.GETXATTR({ file, name: bytes(name) }, context);
  const remove = (name: string, by = context) => xattrs.REMOVEXATTR({ file, name: bytes(name) }, by);

  t.match(get('a'), { status: FGDP_STAT.FGDPERR_NOXATTR, obj_attributes: { size: 9n } });
  t.match(set('a', 'one', SETXATTR_OPTION.REPLACE), { status: FGDP_STAT.FGDPERR_NOXATTR });
  t.match(set('a', 'one', SETXATTR_OPTION.CREATE), { status: NFS3_OK, wcc: { after: { size: 9n } } });
  t.match(set('a', 'two', SETXATTR_OPTION.CREATE), { status: FGDP_STAT.NFS3ERR_EXIST });
  t.match(get('a'), { status: NFS3_OK, value: bytes('one') });
  t.match(set('\xff', '\0'), { status: NFS3_OK });
  t.match(set('', ''), { status: FGDP_STAT.NFS3ERR_INVAL }, 'the namespace alone is no name');
  t.match(set('a\0b', ''), { status: FGDP_STAT.NFS3ERR_INVAL });
  const listed = (await xattrs.LISTXATTRS({ file }, context)) as {
    names: readonly Uint8Array[];
    acls: number;
  };
  t.same(listed.names.map((name) => Buffer.from(name).toString('latin1')).sort(), ['a', '\xff']);
  t.equal(listed.acls, 0);

  // Sent again after the server died under the first execution.
  const again = (before: Uint8Array): Intent => ({ begin: () => before });
  let begun: Uint8Array | undefined;
  const first: Intent = { begin: (before) => ((begun = Uint8Array.from(before)), undefined) };
  const named = { file, option: SETXATTR_OPTION.CREATE, name: bytes('once'), value: bytes('1') };
  t.match(xattrs.SETXATTR(named, contextOf(identity, first)), { status: NFS3_OK });
  t.match(xattrs.SETXATTR(named, contextOf(identity, again(begun!))), { status: NFS3_OK });
  t.match(set('once', '1', SETXATTR_OPTION.CREATE), { status: FGDP_STAT.NFS3ERR_EXIST });
  t.match(remove('once', contextOf(identity, first)), { status: NFS3_OK });
  t.match(remove('once', contextOf(identity, again(begun!))), { status: NFS3_OK });
  t.match(remove('once'), { status: FGDP_STAT.FGDPERR_NOXATTR });
});

t.test('a read-only export', async (t) => {
  const { handle, context, xattrs, space } = scene(t, ',ro');
  const file = handle('f');
  const status = FGDP_STAT.NFS3ERR_ROFS;
  const name = bytes('a');
  t.match(xattrs.SETXATTR({ file, option: 0, name, value: name }, context), { status });
  t.match(xattrs.REMOVEXATTR({ file, name }, context), { status });
  t.match(await space.ALLOCATE({ file, mode: 0, offset: 0n, length: 1n }, context), { status });
  const copy = { file, offset: 0n, source: handle('g'), source_offset: 0n, count: 1n };
  t.match(await space.COPY(copy, context), { status });
});

t.test('ALLOCATE', async (t) => {
  const { handle, context, path, space } = scene(t);
  const file = handle('f');
  const allocate = (mode: number, offset: bigint, length: bigint) =>
    space.ALLOCATE({ file, mode, offset, length }, context);
  const grown = await allocate(0, 0n, BigInt(MIB));
  if (grown.status === FGDP_STAT.NFS3ERR_NOTSUPP) {
    t.comment('the file system of the temporary directory cannot allocate');
    return;
  }
  t.match(grown, { status: NFS3_OK, wcc: { after: { size: BigInt(MIB) } } });
  t.equal(readFileSync(path('f')).toString('latin1', 0, 10), 'some text\0');
  t.match(await allocate(ALLOCATE_MODE.KEEP_SIZE, BigInt(MIB), 4096n), {
    status: NFS3_OK,
    wcc: { after: { size: BigInt(MIB) } },
  });
  const before = statSync(path('f')).blocks;
  const hole = ALLOCATE_MODE.PUNCH_HOLE | ALLOCATE_MODE.KEEP_SIZE;
  t.match(await allocate(hole, 0n, 65_536n), { status: NFS3_OK });
  t.ok(statSync(path('f')).blocks < before, 'there is less space');
  t.equal(readFileSync(path('f'))[0], 0);
  const EINVAL = FGDP_STAT.NFS3ERR_INVAL;
  t.match(await allocate(0, 0n, 0n), { status: EINVAL }, 'no length');
  t.match(await allocate(0, 2n ** 63n, 1n), { status: EINVAL }, 'what would be a negative offset');
  t.match(await allocate(0, 2n ** 63n - 1n, 1n), { status: FGDP_STAT.NFS3ERR_FBIG });
  for (const mode of [ALLOCATE_MODE.PUNCH_HOLE, 0x08, 0x20, 0xffffffff]) {
    t.match(await allocate(mode, 0n, 4096n), { status: FGDP_STAT.NFS3ERR_NOTSUPP }, `mode ${mode}`);
  }
});

t.test('SEEK', async (t) => {
  const { handle, context, space } = scene(t);
  const file = handle('f');
  const seek = (offset: bigint, what: 0 | 1) => space.SEEK({ file, offset, what }, context);
  t.match(seek(2n, SEEK_WHAT.DATA), { status: NFS3_OK, offset: 2n, obj_attributes: { size: 9n } });
  t.match(seek(2n, SEEK_WHAT.HOLE), { status: NFS3_OK, offset: 9n });
  t.match(seek(9n, SEEK_WHAT.DATA), { status: FGDP_STAT.NFS3ERR_NXIO });
  t.match(seek(2n ** 64n - 1n, SEEK_WHAT.HOLE), { status: FGDP_STAT.NFS3ERR_NXIO });
});

t.test('COPY', async (t) => {
  const { handle, context, path, space } = scene(t);
  const [file, source] = [handle('f'), handle('g')];
  const copy = (change: Partial<Parameters<typeof space.COPY>[0]>) =>
    space.COPY({ file, offset: 0n, source, source_offset: 0n, count: 100n, ...change }, context);
  t.match(await copy({ offset: 9n, source_offset: 5n }), {
    status: NFS3_OK,
    count: 5n,
    wcc: { after: { size: 14n } },
  });
  t.equal(readFileSync(path('f'), 'utf8'), 'some text text');
  t.match(await copy({ source_offset: 10n }), { status: NFS3_OK, count: 0n }, 'the end of the source');
  t.match(await copy({ count: 0n }), { status: NFS3_OK, count: 0n });
  t.match(await copy({ source: file, offset: 2n }), { status: FGDP_STAT.NFS3ERR_INVAL }, 'over itself');
  t.match(await copy({ source: handle('g', 'other') }), { status: FGDP_STAT.NFS3ERR_XDEV });
  t.match(await copy({ source: { data: Buffer.alloc(40) } }), { status: FGDP_STAT.NFS3ERR_BADHANDLE });
  t.match(await copy({ offset: 2n ** 63n }), { status: FGDP_STAT.NFS3ERR_INVAL });

  writeFileSync(path('g'), Buffer.alloc(COPY_BYTES_MAX + 10, 'x'));
  const long = await copy({ count: 2n ** 64n - 1n });
  t.match(long, { status: NFS3_OK });
  t.ok('count' in long && long.count > 0n && long.count <= BigInt(COPY_BYTES_MAX), 'so much at a time');
});

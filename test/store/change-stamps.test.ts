import { statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ChangeStamps } from '../../src/store/change-stamps.ts';
import { parseExportOption } from '../../src/store/export-options.ts';
import { lookup } from '../../src/store/operations.ts';
import { Store } from '../../src/store/store.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';

const SECOND_NS = 1_000_000_000n;
const WRITTEN_S = 1_000_000;
const WRITTEN_NS = BigInt(WRITTEN_S) * SECOND_NS;

function scene(t: Test, options = '') {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, { file: 'content' });
  const file = join(tree, 'file');
  utimesSync(file, WRITTEN_S, WRITTEN_S);
  const store = Store.open({
    stateDirectory: join(directory, 'state'),
    exports: [parseExportOption(`tree=${tree}${options}`)],
  });
  t.teardown(() => {
    store.close();
  });
  const root = store.resolve(store.rootHandle('tree'));
  const { handle } = lookup({ uid: 0, gid: 0, groups: [] }, root, Buffer.from('file'));
  return {
    tellApart: (stamps: ChangeStamps) => {
      const { node, status } = store.resolveStatus(handle);
      stamps.tellApart(node, status);
    },
    mtimeNs: () => statSync(file, { bigint: true }).mtimeNs,
    atimeNs: () => statSync(file, { bigint: true }).atimeNs,
  };
}

t.test('a change that the clock would not tell from the next one gets a stamp of its own', async (t) => {
  const { tellApart, mtimeNs, atimeNs } = scene(t);
  const stamps = new ChangeStamps(
    () => false,
    () => WRITTEN_NS + 3_000_000n,
  );
  const seen = new Set<bigint>();
  for (let time = 0; time < 3; time += 1) {
    tellApart(stamps);
    seen.add(mtimeNs());
  }
  t.equal(seen.size, 3);
  t.notOk(seen.has(WRITTEN_NS));
  for (const each of seen) t.ok(each > WRITTEN_NS && each < WRITTEN_NS + 1_000_000n);
  t.equal(atimeNs(), WRITTEN_NS, 'nothing else is touched');
});

t.test('others keep theirs', async (t) => {
  const { tellApart, mtimeNs } = scene(t);
  tellApart(
    new ChangeStamps(
      () => false,
      () => WRITTEN_NS + SECOND_NS,
    ),
  );
  t.equal(mtimeNs(), WRITTEN_NS, 'an old one');
  tellApart(
    new ChangeStamps(
      () => true,
      () => WRITTEN_NS,
    ),
  );
  t.equal(mtimeNs(), WRITTEN_NS, 'the kernel does it by itself');
});

t.test('what is exported read-only was not changed', async (t) => {
  const { tellApart, mtimeNs } = scene(t, ',ro');
  const stamps = new ChangeStamps(
    () => false,
    () => WRITTEN_NS,
  );
  t.doesNotThrow(() => {
    tellApart(stamps);
  });
  t.ok(mtimeNs() >= WRITTEN_NS);
});

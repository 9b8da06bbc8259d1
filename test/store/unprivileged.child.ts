import fs from 'node:fs';
import path from 'node:path';
import { parseExportOption } from '../../src/store/export-options.ts';
import { readSource } from '../../src/store/open-file.ts';
import { lookup, openFile } from '../../src/store/operations.ts';
import { Store, type StoreNode } from '../../src/store/store.ts';
import { canSwitchIdentity } from '../../src/system/identity.ts';
import { mountFileSystem } from '../../src/system/mounts.ts';

// Begins as root in a mount namespace of its own, and goes on as nobody; see surroundings.test.ts.
const top = process.argv[2] as string;
const at = (...names: string[]): string => path.join(top, ...names);
fs.chmodSync(top, 0o755);
fs.mkdirSync(at('tree/below'), { recursive: true });
mountFileSystem({ source: 'tmpfs', target: at('tree/below'), type: 'tmpfs' });
fs.writeFileSync(at('tree/mine'), 'mine');
fs.chownSync(at('tree/mine'), 65534, 65534);
fs.chmodSync(at('tree/mine'), 0o600);
fs.writeFileSync(at('tree/of-root'), 'secret');
fs.chmodSync(at('tree/of-root'), 0o600);
fs.mkdirSync(at('state'), { mode: 0o700 });
fs.chownSync(at('state'), 65534, 65534);
process.setgroups?.([]);
process.setgid?.(65534);
process.setuid?.(65534);

const codeOf = (action: () => unknown): string => {
  try {
    action();
    return 'done';
  } catch (error) {
    return (error as { code: string }).code;
  }
};
const nobody = { uid: 65534, gid: 65534, groups: [] };
const open = (): Store =>
  Store.open({ stateDirectory: at('state'), exports: [parseExportOption(`tree=${at('tree')}`)] });
let store = open();
const root = (): StoreNode => store.resolve(store.rootHandle('tree'));
const find = (name: string): StoreNode => lookup(nobody, root(), Buffer.from(name));
const { handle } = find('mine');
const tree = store.export('tree');
const report = {
  canSwitch: canSwitchIdentity(),
  isolation: tree?.isolation,
  handles: tree?.handles,
  submount: codeOf(() => find('below')),
  ofRoot: codeOf(() => openFile(nobody, find('of-root'))),
  asAnother: codeOf(() => lookup({ ...nobody, uid: 1000 }, root(), Buffer.from('mine'))),
};
store.close();
store = open();
const result = await readSource(openFile(nobody, store.resolve(handle)).source(0n, 100));
console.log(JSON.stringify({ ...report, contents: Buffer.from(result.bytes).toString() }));
store.close();

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { parseExportOption } from '../../src/store/export-options.ts';
import { lookup, openFile, openGrant } from '../../src/store/operations.ts';
import { readSource } from '../../src/store/open-file.ts';
import { Store, type StoreNode } from '../../src/store/store.ts';
import { becomeServer } from '../../src/system/identity.ts';
import { mountFileSystem } from '../../src/system/mounts.ts';

// Runs in a mount namespace of its own, as root; see surroundings.test.ts.
const top = process.argv[2] as string;
const at = (...names: string[]): string => path.join(top, ...names);
for (const name of ['tree/below', 'lower', 'upper', 'work', 'merged'])
  fs.mkdirSync(at(name), { recursive: true });
fs.chmodSync(top, 0o755);

const root = { uid: 0, gid: 0, groups: [] };
const nobody = { uid: 65534, gid: 65534, groups: [] };
const report: Record<string, unknown> = {};
const codeOf = (action: () => unknown): string => {
  try {
    action();
    return 'done';
  } catch (error) {
    return (error as { code: string }).code;
  }
};
const open = (directory: string, state: string): Store =>
  Store.open({ stateDirectory: at(state), exports: [parseExportOption(`tree=${at(directory)},ro`)] });
const rootOf = (store: Store): StoreNode => store.resolve(store.rootHandle('tree'));
const readAll = async (identity: typeof root, node: StoreNode): Promise<string> => {
  const result = await readSource(openFile(identity, node).source(0n, 100));
  return Buffer.from(result.bytes).toString();
};

mountFileSystem({ source: 'tmpfs', target: at('tree/below'), type: 'tmpfs' });
fs.writeFileSync(at('tree/below/hidden'), '');
fs.writeFileSync(at('tree/mine'), 'mine');
fs.chownSync(at('tree/mine'), 65534, 65534);
fs.chmodSync(at('tree/mine'), 0o600);

const asRoot = open('tree', 'state');
const below = lookup(root, rootOf(asRoot), Buffer.from('below'));
report.rootIsolation = asRoot.export('tree')?.isolation;
report.rootSubmount = codeOf(() => lookup(root, below, Buffer.from('hidden')));
const granted = openFile(nobody, lookup(nobody, rootOf(asRoot), Buffer.from('mine')));
report.reopenForWriting = codeOf(() => fs.openSync(`/proc/self/fd/${granted.fd}`, 'r+'));
asRoot.close();

/** Tries to get more out of a granted descriptor: as root in another mount namespace, like a guest's. */
const fromOutside = (fd: number): string => {
  const attempt =
    '(: >> /proc/self/fd/3) 2>/dev/null && echo written; chmod 777 /proc/self/fd/3 2>/dev/null && echo changed';
  const stdio = ['ignore', 'pipe', 'inherit', fd] as const;
  return spawnSync('unshare', ['-m', 'sh', '-c', attempt], { stdio: [...stdio], encoding: 'utf8' }).stdout;
};
for (const handles of ['kernel', 'table'] as const) {
  const options = { ...parseExportOption(`tree=${at('tree')}`), readOnly: false };
  const writable = Store.open({ stateDirectory: at(`state-${handles}`), exports: [options], handles });
  const node = lookup(nobody, rootOf(writable), Buffer.from('mine'));
  const reads = { reads: true, writes: false, writable: false };
  const grant = openGrant(nobody, node, reads);
  const { fd } = grant;
  becomeServer();
  report[`${handles}GrantReopened`] = codeOf(() => fs.openSync(`/proc/self/fd/${fd}`, 'r+'));
  report[`${handles}GrantFromOutside`] = fromOutside(fd);
  report[`${handles}GrantRead`] = fs.readFileSync(fd, 'latin1');
  const plain = fs.openSync(`/proc/self/fd/${node.fd}`, 'r+');
  report[`${handles}NodeFromOutside`] = fromOutside(plain);
  fs.closeSync(plain);
  fs.chmodSync(at('tree/mine'), 0o600);
  grant.close();
  fs.unlinkSync(at('tree/mine'));
  report[`${handles}Deleted`] = codeOf(() => openGrant(nobody, node, reads));
  becomeServer();
  fs.writeFileSync(at('tree/mine'), 'mine', { mode: 0o600 });
  fs.chownSync(at('tree/mine'), 65534, 65534);
  writable.close();
}

// A container's usual root: no kernel handles, and inodes that change their place when they are written.
fs.writeFileSync(at('lower/file'), 'lower');
fs.writeFileSync(at('lower/other'), 'other');
mountFileSystem({
  source: 'overlay',
  target: at('merged'),
  type: 'overlay',
  data: `lowerdir=${at('lower')},upperdir=${at('upper')},workdir=${at('work')}`,
});
let overlay = open('merged', 'state-overlay');
report.overlayHandles = overlay.export('tree')?.handles;
report.overlayIsolation = overlay.export('tree')?.isolation;
const { handle } = lookup(root, rootOf(overlay), Buffer.from('file'));
const other = lookup(root, rootOf(overlay), Buffer.from('other')).handle;
overlay.close();
fs.renameSync(at('merged/other'), at('merged/renamed'));
overlay = open('merged', 'state-overlay');
report.overlayRead = await readAll(root, overlay.resolve(handle));
report.overlayRenamedUnseen = codeOf(() => overlay.resolve(other));
overlay.close();
fs.appendFileSync(at('merged/file'), ' and upper');
overlay = open('merged', 'state-overlay');
report.overlayAfterCopyUp = codeOf(() => overlay.resolve(handle));
report.overlayLookedUpAgain = await readAll(root, lookup(root, rootOf(overlay), Buffer.from('file')));
overlay.close();
console.log(JSON.stringify(report));

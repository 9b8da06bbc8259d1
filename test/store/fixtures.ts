import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseExportOption, type ExportOptions } from '../../src/store/export-options.ts';
import type { HandleKind } from '../../src/store/export-tree.ts';
import { Store } from '../../src/store/store.ts';
import { hasCapability } from '../../src/system/capabilities.ts';
import { canSwitchIdentity } from '../../src/system/identity.ts';

interface Teardown {
  teardown: (action: () => void) => unknown;
}

export const notPrivileged =
  !(hasCapability('CAP_SYS_ADMIN') && hasCapability('CAP_DAC_READ_SEARCH') && canSwitchIdentity()) &&
  'needs root';

export const server = { uid: 0, gid: 0, groups: [] as number[] };
export const user = { uid: 1000, gid: 1000, groups: [] as number[] };

export interface Place {
  /** What is exported; `stateDirectory` and `outside` lie beside it. */
  directory: string;
  stateDirectory: string;
  outside: string;
}

/** Directories that other users can reach, which the checkout need not be. */
export function makePlace(t: Teardown): Place {
  const top = fs.mkdtempSync(path.join(os.tmpdir(), 'nearmount-'));
  t.teardown(() => fs.rmSync(top, { recursive: true }));
  fs.chmodSync(top, 0o755);
  const place = {
    directory: path.join(top, 'tree'),
    stateDirectory: path.join(top, 'state'),
    outside: path.join(top, 'outside'),
  };
  fs.mkdirSync(place.directory);
  fs.mkdirSync(place.outside);
  return place;
}

export function openStore(
  t: Teardown,
  place: Place,
  more: { handles?: HandleKind; options?: Partial<ExportOptions> } = {},
): Store {
  const store = Store.open({
    stateDirectory: place.stateDirectory,
    exports: [{ ...parseExportOption(`tree=${place.directory}`), ...more.options }],
    ...(more.handles === undefined ? {} : { handles: more.handles }),
  });
  t.teardown(() => store.close());
  return store;
}

export const bytes = (name: string): Buffer => Buffer.from(name, 'latin1');

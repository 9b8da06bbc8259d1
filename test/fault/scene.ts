/** What the fault tests share: a tree with a large file of known content, servers and mounts of it. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startMount, type MountOptions, type RunningMount, type Teardown } from '../support/mounts.ts';
import { startServer, type ServerProcess } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';

export const MIB = 1024 * 1024;

export interface Scene {
  readonly top: string;
  readonly tree: string;
  readonly point: string;
  /** Starts a server of `tree`, or of other `exports`; `port` keeps the address of an earlier one. */
  readonly serve: (options?: {
    port?: number;
    args?: readonly string[];
    exports?: readonly string[];
  }) => Promise<ServerProcess>;
  /** Mounts it at `point`, or another place. */
  readonly mount: (options?: Partial<MountOptions>) => Promise<RunningMount>;
}

type TestLike = Teardown & { teardown: (action: () => Promise<unknown>) => unknown };

export function makeScene(t: TestLike): Scene {
  const top = makeDirectory(t);
  const tree = join(top, 'tree');
  mkdirSync(tree);
  const point = join(top, 'mnt');
  return {
    top,
    tree,
    point,
    serve: (options = {}) => startServer(t, { directory: top, exports: [`tree=${tree}`], ...options }),
    mount: (options = {}) =>
      startMount(t, { source: 'tree', point, table: join(top, 'colocation.db'), ...options }),
  };
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Random bytes in a new file; returns them. */
export function writeRandom(path: string, bytes: number): Buffer {
  const content = randomBytes(bytes);
  writeFileSync(path, content);
  return content;
}

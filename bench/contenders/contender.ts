/** What a contender is: another way to the same files. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Company } from '../company.ts';
import type { WriteWorkload } from '../writing/tasks.ts';

/** A program or package that has to be there. */
export interface Requirement {
  readonly what: string;
  readonly isPresent: () => boolean;
  /** A command for people. */
  readonly install: string;
}

export interface Contender {
  /** Short; names its directory, and itself in the JSON document. */
  readonly name: string;
  /** For people. */
  readonly title: string;
  readonly requirements: readonly Requirement[];
  /** Of a mount of ours: what a file must say of itself, or something else would be measured than the title says. */
  readonly expects?: { readonly route: string; readonly dataPath: string };
  /** What it can do beside reading; nothing when left out. */
  readonly writes?: readonly WriteWorkload[];
  /** Starts what serves the tree, once. Rejects where that cannot be done here. */
  readonly open: (scene: Scene) => Promise<OpenContender>;
}

export interface Scene {
  /** The tree. */
  readonly source: string;
  readonly company: Company;
}

export interface OpenContender {
  /** Mounts at an empty directory; where the tree is to be found then. */
  readonly mount: (point: string) => Promise<string>;
  /** Whether what a reader leaves in this machine's page cache is the client's own copy. */
  readonly hasClientCache: boolean;
}

/** A program in PATH or where daemons lie, by the Debian packages that bring it. */
export function program(name: string, ...packages: readonly string[]): Requirement {
  return {
    what: name,
    isPresent: () => (name.startsWith('/') ? isExecutable(name) : isInPath(name)),
    install: `apt-get install ${packages.join(' ')}`,
  };
}

function isInPath(name: string): boolean {
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'].some(
    (directory) => directory !== '' && isExecutable(join(directory, name)),
  );
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

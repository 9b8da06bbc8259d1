/** Where this package lies, whether the benchmark runs compiled or from its sources. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RUNTIME_FLAGS } from '../src/cli/runtime-flags.ts';

function findRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory);
    if (parent === directory) throw new Error('the benchmark runs in a checkout of the package only');
    directory = parent;
  }
  return directory;
}

export const PACKAGE_ROOT = findRoot();

/** A program of the build that users run: what is measured is what is shipped. */
export function builtProgram(path: string): string {
  return join(PACKAGE_ROOT, 'dist', path);
}

/** The command as its users run it, with the flags of its first line. */
export const NEARMOUNT: readonly string[] = [process.execPath, ...RUNTIME_FLAGS, builtProgram('cli/main.js')];

/** Loads packages of this checkout's node_modules. */
export const requireFromPackage = createRequire(join(PACKAGE_ROOT, 'package.json'));

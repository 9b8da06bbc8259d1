/** What a name changer was told has happened, held against the tree. */
import { lstatSync, readFileSync, readdirSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';

export type NameEntry =
  | { readonly kind: 'file'; readonly id: string }
  | { readonly kind: 'symlink'; readonly target: string }
  | { readonly kind: 'directory' | 'fifo' };

/** See name-changer.mjs. */
export type NameStep =
  | {
      readonly op: 'create' | 'mkdir' | 'symlink' | 'mknod';
      readonly name: string;
      readonly entry: NameEntry;
    }
  | { readonly op: 'remove' | 'rmdir'; readonly name: string }
  | { readonly op: 'link' | 'rename'; readonly from: string; readonly to: string };

type Names = ReadonlyMap<string, NameEntry>;

function after(names: Names, step: NameStep): Names {
  const result = new Map(names);
  switch (step.op) {
    case 'create':
    case 'mkdir':
    case 'symlink':
    case 'mknod':
      return result.set(step.name, step.entry);
    case 'remove':
    case 'rmdir':
      result.delete(step.name);
      return result;
    case 'link':
    case 'rename': {
      const entry = names.get(step.from);
      if (entry === undefined) throw new Error(`${step.op} of ${step.from}, which nobody has made`);
      if (step.op === 'rename') result.delete(step.from);
      return result.set(step.to, entry);
    }
  }
}

/** One line a name, in the order of the names. */
function describe(names: Names): string[] {
  const links = (id: string) =>
    [...names.values()].filter((entry) => entry.kind === 'file' && entry.id === id).length;
  return [...names]
    .map(([name, entry]) => {
      if (entry.kind === 'file') return `${name} file ${entry.id} links ${links(entry.id)}`;
      if (entry.kind === 'symlink') return `${name} symlink ${entry.target}`;
      return `${name} ${entry.kind}`;
    })
    .sort();
}

function describeFile(path: string, stats: Stats): string {
  if (stats.isFile()) return `file ${readFileSync(path, 'latin1')} links ${stats.nlink}`;
  if (stats.isSymbolicLink()) return `symlink ${readlinkSync(path)}`;
  if (stats.isDirectory())
    return readdirSync(path).length === 0 ? 'directory' : 'directory that is not empty';
  return stats.isFIFO() ? 'fifo' : `mode ${stats.mode.toString(8)}`;
}

function describeTree(directory: string): string[] {
  return readdirSync(directory)
    .flatMap((parent) => readdirSync(join(directory, parent)).map((name) => `${parent}/${name}`))
    .map((name) => `${name} ${describeFile(join(directory, name), lstatSync(join(directory, name)))}`)
    .sort();
}

export class NameLedger {
  #names: Names = new Map();
  #begun: NameStep | undefined;

  begin(step: NameStep): void {
    this.#begun = step;
  }

  done(): void {
    if (this.#begun === undefined) throw new Error('done before begun');
    this.#names = after(this.#names, this.#begun);
    this.#begun = undefined;
  }

  /** Where the tree is neither what was acknowledged nor that with the step that is under way. */
  complaints(directory: string): string[] {
    const found = describeTree(directory);
    const allowed = [this.#names];
    const step = this.#begun;
    if (step !== undefined) {
      allowed.push(after(this.#names, step));
      // Its content comes by a call of its own.
      if (step.op === 'create') {
        allowed.push(new Map(this.#names).set(step.name, { kind: 'file', id: '' }));
      }
    }
    if (allowed.some((names) => describe(names).join('\n') === found.join('\n'))) return [];
    const acknowledged = describe(this.#names);
    return [
      `${directory}, with ${JSON.stringify(step ?? 'nothing')} under way:`,
      ...found.filter((line) => !acknowledged.includes(line)).map((line) => `  not acknowledged: ${line}`),
      ...acknowledged.filter((line) => !found.includes(line)).map((line) => `  not there: ${line}`),
    ];
  }
}

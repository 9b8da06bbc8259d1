/** Which folder of src may import which: the design's table of folders, held against the real imports. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import ts from 'typescript';

/** A way in which one folder may import another. */
type Allowance =
  | { readonly folder: string; readonly how: 'freely' }
  /** `import type` and `export type` only: nothing is left of it at run time. */
  | { readonly folder: string; readonly how: 'types' }
  /** Types, and values of files that declare only; a file that names rpc is a procedure table, no declaration. */
  | { readonly folder: string; readonly how: 'declarations' }
  /** One file of the folder, values and types. */
  | { readonly folder: string; readonly how: 'file'; readonly file: string };

const freely = (...folders: string[]): Allowance[] => folders.map((folder) => ({ folder, how: 'freely' }));
const types = (folder: string): Allowance => ({ folder, how: 'types' });
const declarations = (folder: string): Allowance => ({ folder, how: 'declarations' });
const only = (file: string): Allowance => ({ folder: file.split('/')[0]!, how: 'file', file });

/** Loggers come by parameter, so whoever takes one names its type. */
const loggerType = types('observe');

const MAY_IMPORT: Readonly<Record<string, readonly Allowance[] | 'anything'>> = {
  xdr: [],
  rpc: freely('xdr'),
  nfs3: [...freely('xdr'), only('rpc/program.ts')], // the type of its procedure tables and its constructor
  fgdp: freely('xdr', 'rpc', 'nfs3', 'system'),
  system: [],
  transport: freely('rpc', 'system'),
  store: [...freely('system'), declarations('nfs3')],
  server: [...freely('nfs3', 'fgdp', 'rpc', 'store', 'transport'), loggerType],
  resolver: [only('transport/endpoint.ts')],
  client: [...freely('nfs3', 'fgdp', 'rpc', 'transport'), loggerType],
  gateway: [...freely('client', 'resolver', 'nfs3'), loggerType],
  fuse: [...freely('xdr', 'system'), types('gateway'), only('gateway/operations.ts'), loggerType],
  observe: [],
  cli: 'anything',
};

/** Packages that only some folders may import; every other package and all `node:` modules are free. */
const PACKAGE_HOMES: Readonly<Record<string, readonly string[]>> = {
  koffi: ['system'],
  'better-sqlite3': ['resolver', 'store'], // a state database sits with its owner
};

/** Names that say nothing about what is inside. */
const NAMES_NOT_WANTED = /^(utils?|common|helpers?|managers?)$/;

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly line: number;
}

/** Every static or dynamic import, re-export, `import()` type and `require` of a source text with a literal name. */
function importsOf(path: string, text: string): Import[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.ESNext, true);
  const found: Import[] = [];
  const add = (name: ts.Node | undefined, typeOnly: boolean): void => {
    if (name === undefined || !ts.isStringLiteralLike(name)) return;
    const { line } = source.getLineAndCharacterOfPosition(name.getStart(source));
    found.push({ specifier: name.text, typeOnly, line: line + 1 });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      add(node.moduleSpecifier, node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword);
    } else if (ts.isExportDeclaration(node)) {
      add(node.moduleSpecifier, node.isTypeOnly);
    } else if (ts.isImportTypeNode(node)) {
      if (ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, true);
    } else if (ts.isCallExpression(node)) {
      const called = node.expression;
      const loads =
        called.kind === ts.SyntaxKind.ImportKeyword || (ts.isIdentifier(called) && called.text === 'require');
      if (loads) add(node.arguments[0], false);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const folderOf = (path: string): string => (path.includes('/') ? path.split('/')[0]! : '');
const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

/**
 * Checks source files against the table.
 * @param files text of every file by its path below src, with `/` between names
 * @returns one line for each breach, `path:line: what is wrong`; empty when all is well
 */
function breaches(files: ReadonlyMap<string, string>): string[] {
  const imports = new Map([...files].map(([path, text]) => [path, importsOf(path, text)]));
  const target = (from: string, specifier: string): string =>
    posix.normalize(posix.join(posix.dirname(from), specifier));
  const namesRpc = (path: string): boolean =>
    (imports.get(path) ?? []).some(({ specifier }) => folderOf(target(path, specifier)) === 'rpc');

  const allows = (allowance: Allowance, to: string, typeOnly: boolean): boolean => {
    if (allowance.folder !== folderOf(to)) return false;
    switch (allowance.how) {
      case 'freely':
        return true;
      case 'types':
        return typeOnly;
      case 'declarations':
        return typeOnly || !namesRpc(to);
      case 'file':
        return allowance.file === to;
    }
  };

  const found: string[] = [];
  for (const [path, list] of imports) {
    const folder = folderOf(path);
    const table = MAY_IMPORT[folder];
    if (table === undefined) found.push(`${path}:1: src/${folder} is not in the table`);
    for (const name of path.replace(/\.ts$/, '').split('/')) {
      if (NAMES_NOT_WANTED.test(name)) found.push(`${path}:1: the name "${name}" says nothing`);
    }
    for (const { specifier, typeOnly, line } of list) {
      const say = (what: string): number => found.push(`${path}:${line}: ${what}`);
      if (specifier.startsWith('node:')) continue;
      if (!specifier.startsWith('.')) {
        const homes = PACKAGE_HOMES[packageOf(specifier)];
        if (homes !== undefined && !homes.includes(folder)) {
          say(`"${specifier}" may be imported only by ${homes.join(', ')}`);
        }
        continue;
      }
      const to = target(path, specifier);
      if (to.startsWith('../')) say(`"${specifier}" is outside src`);
      else if (table === undefined || table === 'anything' || folderOf(to) === folder) continue;
      else if (!table.some((allowance) => allows(allowance, to, typeOnly))) {
        say(`${folder} may not import ${typeOnly ? 'types' : 'values'} of ${to}`);
      }
    }
  }
  return found;
}

const srcDir = join(dirname(fileURLToPath(import.meta.url)), '../src');

function sources(): Map<string, string> {
  const paths = readdirSync(srcDir, { recursive: true, encoding: 'utf8' }).filter((path) =>
    /\.[cm]?ts$/.test(path),
  );
  return new Map(paths.map((path) => [path, readFileSync(join(srcDir, path), 'utf8')]));
}

t.test('src keeps to the table', async (t) => {
  const files = sources();
  t.ok(files.size > 0, 'there are sources to check');
  t.strictSame(breaches(files), []);
});

t.test('the table names only folders and files that can be met', async (t) => {
  for (const [folder, table] of Object.entries(MAY_IMPORT)) {
    if (table === 'anything') continue;
    for (const allowance of table) {
      t.ok(allowance.folder in MAY_IMPORT, `${folder}: ${allowance.folder} is a folder of the table`);
      if (allowance.how === 'file' && existsSync(join(srcDir, allowance.folder))) {
        t.ok(existsSync(join(srcDir, allowance.file)), `${folder}: ${allowance.file} exists`);
      }
    }
  }
});

t.test('breaches are found', async (t) => {
  const verdict = (path: string, text: string, others: Record<string, string> = {}): string[] =>
    breaches(new Map(Object.entries({ ...others, [path]: text })));

  const bad: [why: string, path: string, text: string][] = [
    ['against the direction', 'xdr/a.ts', "import { call } from '../rpc/call.ts';"],
    ['gateway must not know fuse', 'gateway/a.ts', "import type { Op } from '../fuse/abi.ts';"],
    ['a re-export', 'rpc/a.ts', "export * from '../transport/tcp.ts';"],
    ['an import() type', 'rpc/a.ts', "export type A = import('../transport/tcp.ts').A;"],
    ['a dynamic import', 'rpc/a.ts', "export const a = await import('../transport/tcp.ts');"],
    ['a value where types are allowed', 'server/a.ts', "import { log } from '../observe/logger.ts';"],
    [
      'inline type names still load the file',
      'server/a.ts',
      "import { type L } from '../observe/logger.ts';",
    ],
    ['another file than the one allowed', 'resolver/a.ts', "import type { T } from '../transport/tcp.ts';"],
    ['out of src', 'cli/a.ts', "import { x } from '../../test/x.ts';"],
    ['koffi outside system', 'fuse/a.ts', "import koffi from 'koffi';"],
    ['a subpath of koffi', 'fuse/a.ts', "import koffi from 'koffi/indirect';"],
    ['a state database in a foreign folder', 'gateway/a.ts', "import D from 'better-sqlite3';"],
    ['a folder that is not in the table', 'misc/a.ts', ''],
    ['a file beside the folders', 'a.ts', ''],
    ['a folder named utils', 'server/utils/a.ts', ''],
    ['a file named helpers', 'server/helpers.ts', ''],
  ];
  for (const [why, path, text] of bad) t.equal(verdict(path, text).length, 1, why);

  const good: [why: string, path: string, text: string][] = [
    ['own folder', 'xdr/a.ts', "import { b } from './b.ts';"],
    ['with the direction', 'server/a.ts', "import { b } from '../store/b.ts';"],
    ['a logger by type', 'server/a.ts', "import type { Logger } from '../observe/logger.ts';"],
    ['the endpoint file', 'resolver/a.ts', "import { parse } from '../transport/endpoint.ts';"],
    ['node and packages', 'observe/a.ts', "import fs from 'node:fs';\nimport { pino } from 'pino';"],
    ['koffi at home', 'system/a.ts', "import koffi from 'koffi';"],
    ['the cli composes', 'cli/a.ts', "import { m } from '../fuse/mount.ts';"],
  ];
  for (const [why, path, text] of good) t.strictSame(verdict(path, text), [], why);

  const store = "import { NFS3ERR_STALE } from '../nfs3/status.ts';";
  t.strictSame(verdict('store/a.ts', store, { 'nfs3/status.ts': '' }), [], 'store takes declared values');
  const table = { 'nfs3/status.ts': "import type { ProcedureTable } from '../rpc/program.ts';" };
  t.equal(verdict('store/a.ts', store, table).length, 1, 'but no procedure table');
  t.match(
    verdict('xdr/a.ts', "\nimport '../rpc/a.ts';"),
    [/^xdr\/a\.ts:2: .*rpc\/a\.ts/],
    'a breach says where',
  );
});

/**
 * docs/errors.md says what the code does: its tables are total, the messages it explains are the code's, and every
 * message of the commands and their logs is explained. Those of docs/troubleshooting.md are the code's, too.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import ts from 'typescript';
import { errnoOfRpcError } from '../../src/client/errno.ts';
import { errnoOfStatus } from '../../src/nfs3/errno.ts';
import { NFSSTAT3, type nfs3error } from '../../src/nfs3/status.ts';
import type { TableErrorCode } from '../../src/resolver/table-error.ts';
import { RpcError, type RpcErrorCode } from '../../src/rpc/error.ts';
import { ERRNO } from '../../src/system/errno.ts';

const SOURCES = fileURLToPath(new URL('../../src', import.meta.url));
const DOCUMENT = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
const TROUBLES = readFileSync(new URL('../../docs/troubleshooting.md', import.meta.url), 'utf8');

/** Cells of the rows of every table of a document whose first heading is `first`. */
function rows(first: string, document = DOCUMENT): string[][] {
  const found: string[][] = [];
  let inside = false;
  for (const line of document.split('\n')) {
    if (!line.startsWith('|')) {
      inside = false;
      continue;
    }
    // A '|' inside a cell is written \|.
    const cells = line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim());
    if (cells[0] === first) inside = true;
    else if (inside && cells[0]?.startsWith('---') === false) found.push(cells);
  }
  return found;
}

/** The compiler sees to it that these are all. */
const RPC_CODES: Readonly<Record<RpcErrorCode, true>> = {
  CONNECTION_LOST: true,
  TIMED_OUT: true,
  ABORTED: true,
  RPC_MISMATCH: true,
  AUTH_ERROR: true,
  AUTH_REJECTEDCRED: true,
  PROG_UNAVAIL: true,
  PROG_MISMATCH: true,
  PROC_UNAVAIL: true,
  GARBAGE_ARGS: true,
  SYSTEM_ERR: true,
  BAD_REPLY: true,
  BAD_RECORD: true,
};
const TABLE_CODES: Readonly<Record<TableErrorCode, true>> = {
  missing: true,
  unreadable: true,
  corrupt: true,
  foreign: true,
  newer: true,
  locked: true,
  'read-only': true,
  interrupted: true,
  'bad-row': true,
  'bad-entry': true,
  'unknown-export': true,
  failed: true,
};

const nameOfErrno = (errno: number | undefined): string | undefined =>
  Object.entries(ERRNO).find(([, number]) => number === errno)?.[0];

t.test('every nfsstat3, with the errno it becomes', (t) => {
  const documented = rows('nfsstat3').map(([status, errno]) => [status, errno]);
  const real = Object.entries(NFSSTAT3)
    .filter(([, status]) => status !== NFSSTAT3.NFS3_OK)
    .map(([name, status]) => [name, nameOfErrno(errnoOfStatus(status as nfs3error))]);
  t.same(documented, real);
  t.ok(real.length > 25);
  t.end();
});

t.test('every RpcError code, with its errno', (t) => {
  const documented = rows('code').map(([code, errno]) => [code, errno]);
  const real = (Object.keys(RPC_CODES) as RpcErrorCode[]).map((code) => [
    code,
    nameOfErrno(errnoOfRpcError(new RpcError(code, ''))),
  ]);
  t.same(documented, real);
  t.end();
});

t.test('every kind of table failure', (t) => {
  t.same(
    rows('kind').map(([kind]) => kind),
    Object.keys(TABLE_CODES),
  );
  t.end();
});

/** The text of a string, a template with NUL for what is filled in, or a sum of both. */
function textOf(node: ts.Node): string | undefined {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isTemplateExpression(node)) {
    return node.head.text + node.templateSpans.map((span) => `\0${span.literal.text}`).join('');
  }
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    const [left, right] = [textOf(node.left), textOf(node.right)];
    return left === undefined && right === undefined ? undefined : `${left ?? '\0'}${right ?? '\0'}`;
  }
  return undefined;
}

/** Errors whose message a person gets to see as it is. */
const SHOWN_ERRORS: ReadonlySet<string> = new Set(['CliError', 'RouteError', 'NativeDriverError']);

/** The texts that `node` says to a person: of such an error, a remark, a warning or an error in the log. */
function saidBy(node: ts.Node): string[] {
  const isError = ts.isNewExpression(node) && SHOWN_ERRORS.has(node.expression.getText());
  const isSaid =
    ts.isCallExpression(node) && /(\blog\.(warn|error)|^printRemark)$/i.test(node.expression.getText());
  if (!isError && !isSaid) return [];
  const texts = (node.arguments ?? []).flatMap((argument) =>
    (ts.isConditionalExpression(argument) ? [argument.whenTrue, argument.whenFalse] : [argument]).map(textOf),
  );
  return texts.filter((text) => text !== undefined);
}

interface SourceTexts {
  /** All there are. */
  readonly all: readonly string[];
  /** Those for people, with the files they are in. */
  readonly said: readonly { readonly text: string; readonly file: string }[];
}

function readSources(): SourceTexts {
  const all: string[] = [];
  const said: { text: string; file: string }[] = [];
  for (const file of readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const text = readFileSync(join(SOURCES, file), 'utf8');
    const visit = (node: ts.Node): void => {
      const own = textOf(node);
      if (own !== undefined) all.push(own);
      said.push(...saidBy(node).map((each) => ({ text: each, file })));
      ts.forEachChild(node, visit);
    };
    visit(ts.createSourceFile(file, text, ts.ScriptTarget.ESNext, true));
  }
  return { all, said };
}

const TEXTS = readSources();

/** What the cells of a column quote, without single words: those are commands or fields. */
function quoted(cells: readonly string[]): string[] {
  return cells
    .flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)])
    .map(([, message = '']) => message)
    .filter((message) => message.includes(' ') && !message.startsWith('nearmount'));
}

const firstCells = (heading: string): string[] => rows(heading).map(([cell = '']) => cell);

/** What stands for something else in a documented message. */
const PLACEHOLDER = /\b[A-Z][A-Z_]+\b|\(\.\.\.\)|; \.\.\./;

/** Whether a text of the sources says all that a documented message does, in its order. */
function says(text: string, message: string): boolean {
  let at = 0;
  for (const part of message.split(PLACEHOLDER)) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return true;
}

t.test('every message exists', (t) => {
  const messages = quoted([
    ...firstCells('message'),
    ...firstCells('reason'),
    ...rows('kind').map(([, why = '']) => why),
    ...rows('without', TROUBLES).map(([, , shown = '']) => shown),
  ]);
  t.ok(messages.length > 150, `${messages.length} messages`);
  for (const message of messages) {
    const letters = message
      .split(PLACEHOLDER)
      .join('')
      .replaceAll(/[^a-z]/g, '');
    t.ok(letters.length >= 6, `enough is said: ${message}`);
    t.ok(
      TEXTS.all.some((text) => says(text, message)),
      message,
    );
  }
  t.notOk(
    TEXTS.all.some((text) => says(text, 'mount point DIR is on fire')),
    'others do not',
  );
  t.end();
});

/** What is said and not in a table, with the reason. */
const NOT_EXPLAINED: readonly (readonly [text: string, reason: string])[] = [
  [
    '\0 (and \0 more)',
    'the first of the problems of a file, which a row explains, with the count of the others',
  ],
];

t.test('every message is explained', (t) => {
  const explained = quoted([...firstCells('message'), ...firstCells('reason')]);
  const left = new Set(NOT_EXPLAINED.map(([text]) => text));
  t.ok(TEXTS.said.length > 100, `${TEXTS.said.length} messages`);
  for (const { text, file } of TEXTS.said) {
    // What is made of others' words alone is theirs to explain.
    if (text.replaceAll(/[^a-z]/gi, '').length < 6) continue;
    if (left.delete(text)) continue;
    t.ok(
      explained.some((message) => says(text, message)),
      `${file}: ${text.replaceAll('\0', '...')}`,
    );
  }
  t.same([...left], [], 'no exception without its message');
  t.end();
});

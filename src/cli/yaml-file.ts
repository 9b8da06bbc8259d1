/** YAML files for people: every problem with its file, line and column. */
import { readFileSync, statSync } from 'node:fs';
import { isMap, isNode, isScalar, LineCounter, parseDocument, visit, type Document } from 'yaml';
import { z } from 'zod';
import { CliError } from './errors.ts';

/** Largest file read, in bytes. */
const YAML_BYTES_MAX = 1024 * 1024;

/** Where in a document: keys and indices from the root. */
export type YamlPath = readonly (string | number)[];

export interface Problem {
  readonly path: YamlPath;
  readonly message: string;
}

/** A file that cannot be used: one line a problem, each beginning with FILE:LINE:COLUMN. */
export class YamlFileError extends Error {
  override readonly name = 'YamlFileError';
  readonly lines: readonly string[];

  constructor(lines: readonly string[]) {
    super(lines.join('\n'));
    this.lines = lines;
  }
}

export interface YamlFile<T> {
  readonly value: T;
  /** The error that says what is wrong with places of this file. */
  readonly wrong: (problems: readonly Problem[]) => YamlFileError;
}

/**
 * Reads a file of at most 1 MiB. `${NAME}` in values is the environment's variable NAME, `$$` a dollar sign.
 *
 * @throws YamlFileError with all problems; CliError when it cannot be read
 */
export function readYamlFile<T>(
  file: string,
  schema: z.ZodType<T>,
  environment: NodeJS.ProcessEnv = process.env,
): YamlFile<T> {
  const lines = new LineCounter();
  const document = parseDocument(readText(file), { lineCounter: lines, prettyErrors: false });
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    // An empty document has no lines.
    return `${file}:${line || 1}:${col || 1}`;
  };
  const wrong = (problems: readonly Problem[]): YamlFileError =>
    new YamlFileError(
      problems.map(({ path, message }) => `${place(offsetOf(document, path))}: ${describe(path, message)}`),
    );
  if (document.errors.length > 0) {
    throw new YamlFileError(
      document.errors.map(({ pos, message }) => `${place(pos[0])}: ${message.replaceAll('\n', ' ')}`),
    );
  }
  const unknown = expandVariables(document, environment).map(
    ({ offset, name }) => `${place(offset)}: the environment has no variable ${name}`,
  );
  if (unknown.length > 0) throw new YamlFileError(unknown);
  const parsed = schema.safeParse(contentOf(document, place), { error: wordingOf });
  if (!parsed.success) throw wrong(parsed.error.issues.flatMap((issue) => problemsOf(issue, schema)));
  return { value: parsed.data, wrong };
}

/** The values of a document; an empty one is an empty map. */
function contentOf(document: Document, place: (offset: number) => string): unknown {
  try {
    return document.toJS() ?? {};
  } catch (error) {
    // An alias without its anchor, or aliases of aliases without end.
    throw new YamlFileError([`${place(0)}: ${error instanceof Error ? error.message : String(error)}`]);
  }
}

function readText(file: string): string {
  let bytes: Buffer;
  try {
    if (statSync(file).size > YAML_BYTES_MAX)
      throw new CliError(`${file} cannot be used: it is larger than ${YAML_BYTES_MAX} bytes`);
    bytes = readFileSync(file);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(
      `${file} cannot be read (${(error as NodeJS.ErrnoException).code}): check its name and permissions`,
      1,
      error,
    );
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new CliError(`${file} cannot be used: it is not UTF-8 text`, 1, error);
  }
}

/** Puts the environment's values in place; returns what it does not have. */
function expandVariables(
  document: Document,
  environment: NodeJS.ProcessEnv,
): readonly { readonly offset: number; readonly name: string }[] {
  const unknown: { offset: number; name: string }[] = [];
  visit(document, {
    Scalar: (key, node) => {
      if (key === 'key' || typeof node.value !== 'string') return;
      node.value = node.value.replace(/\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)\})/g, (all, name?: string) => {
        if (name === undefined) return '$';
        const value = environment[name];
        if (value === undefined) unknown.push({ offset: node.range?.[0] ?? 0, name });
        return value ?? all;
      });
    },
  });
  return unknown;
}

/** What is wanted, by the names that zod has for types. */
const WANTED: Readonly<Record<string, string>> = {
  string: 'a text is wanted',
  number: 'a number is wanted',
  boolean: 'true or false is wanted',
  array: 'a list is wanted',
  object: 'pairs of NAME: VALUE are wanted',
  record: 'pairs of NAME: VALUE are wanted',
};

/** The words for a problem about which the schema says nothing itself; undefined leaves it to zod. */
function wordingOf(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'is missing' : WANTED[issue.expected];
    case 'invalid_value':
      return `${issue.values.map(String).join(', ')} are allowed`;
    case 'too_small':
      return issue.origin === 'string' && issue.minimum === 1 ? 'is empty' : undefined;
    case 'too_big':
      return issue.origin === 'array' ? `at most ${issue.maximum} entries are allowed` : undefined;
    default:
      return undefined;
  }
}

/** One problem for each unknown key, at the key. */
function problemsOf(issue: z.core.$ZodIssue, schema: z.ZodType): readonly Problem[] {
  const path = issue.path.map((step) => (typeof step === 'number' ? step : String(step)));
  if (issue.code !== 'unrecognized_keys') return [{ path, message: issue.message }];
  const atTop = path.length === 0 && schema instanceof z.ZodObject;
  const message = atTop
    ? `no such key is known: ${Object.keys(schema.shape).join(', ')} are allowed`
    : 'no such key is known';
  return issue.keys.map((key) => ({ path: [...path, key], message }));
}

/** Where the deepest node on the way begins; for a key of a map, the key. */
function offsetOf(document: Document, path: YamlPath): number {
  const last = path.at(-1);
  if (last === undefined) return startOf(document.contents);
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  if (isMap(parent)) {
    const pair = parent.items.find(({ key }) => isScalar(key) && key.value === last);
    if (pair !== undefined) return startOf(pair.key);
  }
  const node = document.getIn(path, true);
  return isNode(node) ? startOf(node) : offsetOf(document, path.slice(0, -1));
}

function startOf(node: unknown): number {
  return isNode(node) ? (node.range?.[0] ?? 0) : 0;
}

function describe(path: YamlPath, message: string): string {
  const where = path
    .map((step, index) => (typeof step === 'number' ? `[${step}]` : `${index === 0 ? '' : '.'}${step}`))
    .join('');
  return where === '' ? message : `${where}: ${message}`;
}

/** The file of `nearmount serve --config`: YAML with the settings of the command line. */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { isMap, isNode, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import { z } from 'zod';
import { exportOptions, ExportOptionError, type ExportOptions } from '../store/export-options.ts';
import { AddressError, parseTcpAddress, type TcpEndpoint } from '../transport/endpoint.ts';
import { CliError } from './errors.ts';

/** Longest configuration file, in bytes. */
const CONFIG_BYTES_MAX = 1024 * 1024;

/** What a configuration file says; what it leaves out is for the command line or the defaults. */
export interface ServeConfig {
  readonly name?: string | undefined;
  /** Absolute, as all paths here: relative ones are taken from the file's own directory. */
  readonly state?: string | undefined;
  readonly socket?: string | undefined;
  readonly colocation?: string | undefined;
  readonly listen?: readonly TcpEndpoint[] | undefined;
  readonly backplane?: readonly TcpEndpoint[] | undefined;
  readonly node?: string | undefined;
  readonly cluster?: string | undefined;
  /** True stands for the usual place of rpcbind's socket. */
  readonly rpcbind?: string | boolean | undefined;
  readonly exports?: readonly ExportOptions[] | undefined;
}

const address = z.string().transform((text, context) => {
  try {
    return parseTcpAddress(text);
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
    return z.NEVER;
  }
});

const setting = z.union([z.literal(true), z.number(), z.string(), z.array(z.string())], {
  error: 'true, a number, a text or a list of texts is allowed; a flag that does not hold is left out',
});

/** Every further key is a setting of --export; lists stand for what is joined by '+' there. */
function exportEntry(directoryOfFile: string) {
  return z
    .object({ name: z.string(), directory: z.string().min(1, 'a directory is wanted') })
    .catchall(setting)
    .transform(({ name, directory, ...settings }, context) => {
      try {
        return exportOptions(
          name,
          { name, directory: resolve(directoryOfFile, directory) },
          Object.entries(settings).map(([key, value]) => ({ key, value: settingText(value) })),
        );
      } catch (error) {
        if (!(error instanceof ExportOptionError)) throw error;
        context.addIssue({ code: 'custom', path: [error.part], message: error.problem });
        return z.NEVER;
      }
    });
}

function settingText(value: z.infer<typeof setting>): string | undefined {
  if (value === true) return undefined;
  return Array.isArray(value) ? value.join('+') : String(value);
}

function configSchema(directoryOfFile: string) {
  const path = z
    .string()
    .min(1, 'a path is wanted')
    .transform((text) => resolve(directoryOfFile, text));
  return z.strictObject({
    name: z.string().optional(),
    state: path.optional(),
    socket: path.optional(),
    colocation: path.optional(),
    listen: z.array(address).optional(),
    backplane: z.array(address).optional(),
    node: z.string().optional(),
    cluster: z.string().optional(),
    rpcbind: z
      .union([z.boolean(), path], { error: 'true, false or the path of a socket is allowed' })
      .optional(),
    exports: z
      .array(exportEntry(directoryOfFile))
      .superRefine((exports, context) => {
        const seen = new Set<string>();
        for (const [index, { name }] of exports.entries()) {
          if (seen.has(name)) {
            context.addIssue({ code: 'custom', path: [index, 'name'], message: `'${name}' is given twice` });
          }
          seen.add(name);
        }
      })
      .optional(),
  });
}

/**
 * Reads and checks a configuration file.
 *
 * @throws CliError: `FILE:LINE:COLUMN: where: what is wrong, what is allowed`, for the first thing that is wrong
 */
export function readServeConfig(file: string): ServeConfig {
  const lines = new LineCounter();
  const document = parseDocument(readText(file), { lineCounter: lines, prettyErrors: false });
  const fail = (offset: number, message: string): never => {
    const { line, col } = lines.linePos(offset);
    throw new CliError(`${file}:${line || 1}:${col || 1}: ${message.replaceAll('\n', ' ')}`, 2);
  };
  const [broken] = document.errors;
  if (broken !== undefined) fail(broken.pos[0], broken.message);
  let content: unknown;
  try {
    content = document.toJS() ?? {};
  } catch (error) {
    // An alias without its anchor, or aliases of aliases without end.
    fail(0, error instanceof Error ? error.message : String(error));
  }
  const schema = configSchema(dirname(resolve(file)));
  const parsed = schema.safeParse(content);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue === undefined) throw parsed.error;
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  if (unknown !== undefined) {
    const allowed = Object.keys(schema.shape).join(', ');
    return fail(
      offsetOf(document, [...issue.path, unknown], true),
      `'${unknown}' is unknown: ${allowed} are allowed`,
    );
  }
  const where = issue.path.length === 0 ? '' : `${issue.path.map(String).join('.')}: `;
  return fail(offsetOf(document, issue.path), `${where}${issue.message}`);
}

function readText(file: string): string {
  let bytes: Buffer;
  try {
    const { size } = statSync(file);
    if (size > CONFIG_BYTES_MAX) {
      throw new CliError(`${file} has ${size} bytes: at most ${CONFIG_BYTES_MAX} are allowed`, 2);
    }
    bytes = readFileSync(file);
  } catch (error) {
    if (error instanceof CliError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new CliError(`the configuration ${file} cannot be read (${code}): check --config`, 2, error);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new CliError(`the configuration ${file} is not UTF-8 text`, 2, error);
  }
}

/** Where in the text a value lies, or its key; for what is missing, where it is missed. */
function offsetOf(document: Document, path: readonly PropertyKey[], key = false): number {
  for (let length = path.length; length > 0; length -= 1) {
    const name = path[length - 1];
    const parent = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const pair = isMap(parent)
      ? parent.items.find((item) => isScalar(item.key) && String(item.key.value) === name)
      : undefined;
    const node = key && pair !== undefined ? pair.key : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
    if (isNode(pair?.key) && pair.key.range) return pair.key.range[0];
  }
  return isNode(document.contents) ? (document.contents.range?.[0] ?? 0) : 0;
}

/** The declarative mount file: which exports, where, with which options. */
import { dirname, isAbsolute, resolve } from 'node:path';
import { z } from 'zod';
import { LOG_LEVELS } from '../observe/log.ts';
import { parseSource, SourceError } from '../resolver/source.ts';
import { DEFAULT_COLOCATION_FILE } from '../resolver/table.ts';
import { CliError } from './errors.ts';
import { parseMountOptions } from './mount-options.ts';
import { parseRequest, type MountRequest } from './mount-request.ts';
import { defaultLogFile } from './places.ts';
import { readYamlFile, type Problem, type YamlPath } from './yaml-file.ts';

/** How many mounts one file may ask for. */
const MOUNTS_PER_FILE_MAX = 1_024;

export interface FileMount {
  readonly request: MountRequest;
  /** Whether the directory is made where it is missing. */
  readonly create: boolean;
}

/** An option as written; `off` takes one of the file's common options away. */
interface OptionSetting {
  readonly name: string;
  readonly value: string | undefined;
  readonly off: boolean;
}

const text = z.string().min(1);
const optionName = z.string().regex(/^[^=,\s]+$/, 'is no name of a mount option');
const optionsSchema = z
  .union(
    [
      z.record(optionName, z.union([z.string(), z.number(), z.boolean(), z.null()])),
      z.array(text),
      z.string(),
    ],
    { error: 'takes NAME: VALUE pairs, a list of NAME or NAME=VALUE, or NAME[=VALUE],...' },
  )
  .transform(readSettings);

const mountSchema = z.strictObject({
  source: text,
  mountpoint: text,
  options: optionsSchema.default([]),
  create: z.boolean().default(false),
});

const fileSchema = z.strictObject({
  colocation: text.optional(),
  node: text.optional(),
  cluster: text.optional(),
  'log-file': text.optional(),
  'log-level': z.enum(LOG_LEVELS).default('info'),
  options: optionsSchema.default([]),
  mounts: z.array(mountSchema).min(1, 'lists no mounts').max(MOUNTS_PER_FILE_MAX),
});

/**
 * Reads a mount file. The mounts come in the order in which they can be made: those above before those below.
 *
 * @throws YamlFileError, CliError
 */
export function readMountFile(
  file: string,
  environment: NodeJS.ProcessEnv = process.env,
): readonly FileMount[] {
  const { value, wrong } = readYamlFile(file, fileSchema, environment);
  const besideFile = (path: string): string => resolve(dirname(file), path);
  const table = value.colocation ?? environment.NEARMOUNT_COLOCATION;
  const mounts = value.mounts.map(({ source, mountpoint, options, create }): FileMount => {
    const list = combine(value.options, options).join(',');
    const request = {
      sourceText: source,
      mountPoint: resolve(mountpoint),
      optionLists: list === '' ? [] : [list],
      tableFile: table === undefined ? DEFAULT_COLOCATION_FILE : besideFile(table),
      node: value.node,
      cluster: value.cluster,
      logFile: besideFile(value['log-file'] ?? defaultLogFile()),
      logLevel: value['log-level'],
    };
    return { request, create };
  });
  const common = checkCommon(value.options);
  if (common.length > 0) throw wrong(common);
  const problems = mounts.flatMap(({ request }, index) => {
    const written = value.mounts[index]?.mountpoint ?? '';
    const earlier = mounts.findIndex((each) => each.request.mountPoint === request.mountPoint);
    return checkMount(request, written, index, earlier);
  });
  if (problems.length > 0) throw wrong(problems);
  return mounts.toSorted((a, b) => depth(a.request.mountPoint) - depth(b.request.mountPoint));
}

function checkCommon(options: readonly OptionSetting[]): Problem[] {
  try {
    parseMountOptions(combine([], options));
    return [];
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return [{ path: ['options'], message: error.message }];
  }
}

function checkMount(request: MountRequest, written: string, index: number, earlier: number): Problem[] {
  const at = (...rest: YamlPath): YamlPath => ['mounts', index, ...rest];
  const problems: Problem[] = [];
  if (!isAbsolute(written)) {
    problems.push({ path: at('mountpoint'), message: `${JSON.stringify(written)} does not begin with /` });
  } else if (earlier < index) {
    problems.push({
      path: at('mountpoint'),
      message: `mounts[${earlier}] is at ${request.mountPoint} already`,
    });
  }
  try {
    parseSource(request.sourceText);
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    return [...problems, { path: at('source'), message: error.message }];
  }
  try {
    parseRequest(request);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    problems.push({ path: at('options'), message: error.message });
  }
  return problems;
}

function depth(path: string): number {
  return path === '/' ? 0 : path.split('/').length;
}

function readSettings(
  options: Readonly<Record<string, string | number | boolean | null>> | readonly string[] | string,
): readonly OptionSetting[] {
  if (typeof options === 'string' || Array.isArray(options)) {
    const lists = typeof options === 'string' ? [options] : (options as readonly string[]);
    return lists
      .flatMap((list) => list.split(','))
      .filter((item) => item !== '')
      .map((item) => {
        const equals = item.indexOf('=');
        return equals < 0
          ? { name: item, value: undefined, off: false }
          : { name: item.slice(0, equals), value: item.slice(equals + 1), off: false };
      });
  }
  return Object.entries(options).map(([name, value]) => {
    // Taken away, it would leave the default, which is what it forbids.
    if (name === 'rw' && value === false) return { name: 'ro', value: undefined, off: false };
    return {
      name,
      value: typeof value === 'boolean' || value === null ? undefined : String(value),
      off: value === false,
    };
  });
}

/** The file's common options and a mount's own, which win; as `-o` takes them. */
function combine(common: readonly OptionSetting[], own: readonly OptionSetting[]): readonly string[] {
  const settings = new Map<string, OptionSetting>();
  for (const setting of [...common, ...own]) {
    // Where a name comes again, its last place counts, too.
    settings.delete(setting.name);
    settings.set(setting.name, setting);
  }
  return [...settings.values()]
    .filter(({ off }) => !off)
    .map(({ name, value }) => (value === undefined ? name : `${name}=${value}`));
}

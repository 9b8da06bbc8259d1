/** The file of `nearmount serve --config`: YAML with the settings of the command line. */
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { exportOptions, ExportOptionError, type ExportOptions } from '../store/export-options.ts';
import { AddressError, parseTcpAddress, type TcpEndpoint } from '../transport/endpoint.ts';
import { CliError } from './errors.ts';
import { readYamlFile, YamlFileError } from './yaml-file.ts';

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
 * Reads and checks a configuration file; an empty one says nothing.
 *
 * @throws CliError: `FILE:LINE:COLUMN: where: what is wrong, what is allowed`, for the first thing that is wrong
 */
export function readServeConfig(file: string): ServeConfig {
  try {
    return readYamlFile(file, configSchema(dirname(resolve(file)))).value;
  } catch (error) {
    if (!(error instanceof YamlFileError)) throw error;
    const [first = error.message, ...more] = error.lines;
    throw new CliError(more.length === 0 ? first : `${first} (and ${more.length} more)`, 2, error);
  }
}

import { createHash } from 'node:crypto';
import { z } from 'zod';
import { isWildcardHost, parseSocketPath, parseTcpAddress } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import {
  MAX_ENDPOINTS_PER_SERVER,
  MAX_EXPORT_PATH_BYTES,
  MAX_EXPORTS_PER_SERVER,
  MAX_NAME_BYTES,
  MAX_NODE_ID_CHARS,
  MAX_PRIORITY,
} from './limits.ts';

/** PRAGMA application_id of a colocation table: "NMCT". */
export const APPLICATION_ID = 0x4e4d4354;
/** PRAGMA user_version: the layout this code reads and writes. */
export const SCHEMA_VERSION = 1;

/** The tables of layout 1. STRICT, so that `quick_check` finds values of a wrong type. */
export const SCHEMA_SQL = `
CREATE TABLE clusters (
  name TEXT PRIMARY KEY NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE nodes (
  boot_id TEXT PRIMARY KEY NOT NULL,
  name TEXT NOT NULL,
  cluster TEXT REFERENCES clusters (name),
  seen_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE servers (
  id TEXT PRIMARY KEY NOT NULL,
  name TEXT NOT NULL,
  public_key TEXT NOT NULL,
  boot_id TEXT NOT NULL REFERENCES nodes (boot_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX servers_by_node ON servers (boot_id);
CREATE TABLE endpoints (
  server_id TEXT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
  route TEXT NOT NULL,
  address TEXT NOT NULL,
  priority INTEGER NOT NULL,
  PRIMARY KEY (server_id, route, address)
) STRICT, WITHOUT ROWID;
CREATE TABLE exports (
  name TEXT PRIMARY KEY NOT NULL,
  server_id TEXT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
  path TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX exports_by_server ON exports (server_id);
`;

/** The ways to a server, best first. */
export const ROUTE_KINDS = ['near', 'backplane', 'network'] as const;
export type RouteKind = (typeof ROUTE_KINDS)[number];

// Others write the table too, and its names reach terminals and logs.
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

function withinBytes(limit: number): z.ZodString {
  return z
    .string()
    .refine((text) => Buffer.byteLength(text) <= limit, `is longer than ${limit} bytes`)
    .refine((text) => !CONTROL.test(text), 'contains control characters');
}

/** Name of a server, a node or a cluster. */
export const nameSchema = withinBytes(MAX_NAME_BYTES).refine((text) => text.trim() !== '', 'is empty');

/** Node id: the boot_id of the running kernel, or what `--node` says. */
export const nodeIdSchema = z
  .string()
  .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces, and not empty')
  .max(MAX_NODE_ID_CHARS, `is longer than ${MAX_NODE_ID_CHARS} characters`);

/** Export name: no '/', ',', '=' or white space, so that it fits `--export NAME=DIR,ro` and the mount path /NAME. */
export const exportNameSchema = withinBytes(MAX_NAME_BYTES)
  .refine((text) => text !== '', 'is empty')
  .refine((text) => !/[/,=\s]/.test(text), "must not contain '/', ',', '=' or white space")
  .refine((text) => text !== '.' && text !== '..', 'must not be . or ..');

export const exportPathSchema = withinBytes(MAX_EXPORT_PATH_BYTES).refine(
  (text) => text.startsWith('/'),
  'is not an absolute path',
);

/** Server id: 16 bytes as 32 lower-case hexadecimal digits. */
export const serverIdSchema = z.string().regex(/^[0-9a-f]{32}$/, 'is not 32 lower-case hexadecimal digits');

/** Ed25519 public key: its 32 raw bytes (RFC 8032 section 5.1.5) in padded base64. */
export const publicKeySchema = z.string().refine((text) => {
  const raw = Buffer.from(text, 'base64');
  return raw.length === 32 && raw.toString('base64') === text;
}, 'is not an Ed25519 public key (32 raw bytes in base64, 44 characters)');

export const nodeSchema = z.strictObject({
  bootId: nodeIdSchema,
  name: nameSchema,
  cluster: nameSchema.optional(),
  /** When the node was last entered, milliseconds since 1970; the time of entering when left out. */
  seenAtMs: z.int().nonnegative().optional(),
});
export type NodeEntry = z.infer<typeof nodeSchema>;

export const endpointSchema = z
  .strictObject({
    route: z.enum(ROUTE_KINDS),
    address: z.string(),
    /** Order among the endpoints of one route: lower is tried first. */
    priority: z.int().min(0).max(MAX_PRIORITY).default(0),
  })
  .superRefine(({ route, address }, context) => {
    try {
      reachableEndpoint(route, address);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      context.addIssue({ code: 'custom', path: ['address'], message: error.message });
    }
  });
export type EndpointEntry = z.infer<typeof endpointSchema>;

export const exportSchema = z
  .strictObject({ name: exportNameSchema, path: exportPathSchema.optional() })
  .transform(({ name, path }) => ({ name, path: path ?? `/${name}` }));
export type ExportEntry = z.infer<typeof exportSchema>;

export const serverSchema = z.strictObject({
  id: serverIdSchema,
  name: nameSchema,
  publicKey: publicKeySchema,
  node: nodeSchema,
  endpoints: z.array(endpointSchema).max(MAX_ENDPOINTS_PER_SERVER),
  exports: z.array(exportSchema).max(MAX_EXPORTS_PER_SERVER),
});
/** A data-access server as the table knows it. */
export type ServerEntry = z.infer<typeof serverSchema>;
/** The same as callers write it: priorities and export paths may be left out. */
export type ServerEntryInput = z.input<typeof serverSchema>;

/**
 * Reads the address of an endpoint: a socket path for `near`, else ADDR:PORT that a client can connect to.
 * @throws AddressError, or Error for an address only a listener can use
 */
export function reachableEndpoint(route: RouteKind, address: string): Endpoint {
  if (route === 'near') return parseSocketPath(address);
  const endpoint = parseTcpAddress(address);
  if (endpoint.port === 0)
    throw new Error(`${JSON.stringify(address)} has port 0, which nobody can connect to`);
  if (isWildcardHost(endpoint.host)) {
    throw new Error(`${JSON.stringify(address)} is an address to listen on, not one to reach: name the host`);
  }
  return endpoint;
}

/** The id of the server that holds this key: the first 16 bytes of the SHA-256 of its raw bytes. */
export function serverIdOfKey(publicKeyBase64: string): string {
  return createHash('sha256').update(Buffer.from(publicKeyBase64, 'base64')).digest('hex').slice(0, 32);
}

/** One validation failure as one line: `servers[2].endpoints[0].address: what is wrong`. */
export function describeIssues(error: z.ZodError): string {
  const [first, ...others] = error.issues;
  if (first === undefined) return 'is not valid';
  const where = first.path
    .map((step, index) =>
      typeof step === 'number' ? `[${step}]` : `${index === 0 ? '' : '.'}${String(step)}`,
    )
    .join('');
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`;
  return `${where === '' ? 'the whole' : where}: ${first.message}${more}`;
}

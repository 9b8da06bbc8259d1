import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { MAX_IMPORT_BYTES } from './limits.ts';
import {
  describeIssues,
  nodeIdSchema,
  nodeSchema,
  serverIdOfKey,
  serverIdSchema,
  serverSchema,
} from './schema.ts';
import type { NodeEntry, ServerEntry } from './schema.ts';
import type { TableContent } from './table.ts';

/** A document that cannot be imported; the message names the file and the place in the document. */
export class ImportError extends Error {
  override readonly name = 'ImportError';
}

// A server may leave out its id (then it follows from the key) and name its node by the boot id.
const importServerSchema = serverSchema.extend({
  id: serverIdSchema.optional(),
  node: z.union([nodeIdSchema, nodeSchema], { error: 'is neither a node nor a boot id of one in nodes' }),
});
type ImportServer = z.infer<typeof importServerSchema>;
const serversSchema = z.array(importServerSchema);
const documentSchema = z.strictObject({
  nodes: z.array(nodeSchema).default([]),
  servers: serversSchema.default([]),
});

/**
 * Reads what `colocation import` takes: JSON, `{"nodes": [...], "servers": [...]}` or only the array of servers, in
 * the shape `colocation list --json` prints.
 * @param name what to call the document in errors
 * @throws ImportError
 */
export function parseImportDocument(text: string, name: string): TableContent {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw failed(name, `it is not JSON (${error instanceof Error ? error.message : String(error)})`, error);
  }
  const bare = Array.isArray(value);
  const parsed = bare ? serversSchema.safeParse(value) : documentSchema.safeParse(value);
  if (!parsed.success) throw failed(name, describeIssues(parsed.error), parsed.error);
  const { nodes, servers } = Array.isArray(parsed.data) ? { nodes: [], servers: parsed.data } : parsed.data;
  return complete(nodes, servers, name, bare ? '' : 'servers');
}

/**
 * The same for a file, of at most MAX_IMPORT_BYTES.
 * @throws ImportError
 */
export function readImportDocument(file: string): TableContent {
  let text: string;
  try {
    const { size } = statSync(file);
    if (size > MAX_IMPORT_BYTES) throw failed(file, `it is larger than ${MAX_IMPORT_BYTES} bytes`);
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof ImportError) throw error;
    throw failed(file, error instanceof Error ? error.message : String(error), error);
  }
  return parseImportDocument(text, file);
}

function failed(name: string, why: string, cause?: unknown): ImportError {
  const line = `cannot import ${name}: ${why}`.replace(/\s*\n\s*/g, ' ');
  return new ImportError(line, cause === undefined ? {} : { cause });
}

function complete(nodes: NodeEntry[], servers: ImportServer[], name: string, where: string): TableContent {
  const nodesById = new Map(nodes.map((node) => [node.bootId, node]));
  const places = new Map<string, string>();
  const claim = (what: string, place: string): void => {
    const earlier = places.get(what);
    if (earlier !== undefined) throw failed(name, `${place}: ${what} is already listed by ${earlier}`);
    places.set(what, place);
  };
  nodes.forEach((node, index) => {
    claim(`node ${JSON.stringify(node.bootId)}`, `nodes[${index}].bootId`);
  });
  const entries = servers.map((server, index): ServerEntry => {
    const place = `${where}[${index}]`;
    const id = server.id ?? serverIdOfKey(server.publicKey);
    claim(`server ${id}`, server.id === undefined ? place : `${place}.id`);
    server.exports.forEach((entry, exportIndex) => {
      claim(`export ${JSON.stringify(entry.name)}`, `${place}.exports[${exportIndex}].name`);
    });
    const node = typeof server.node === 'string' ? nodesById.get(server.node) : server.node;
    if (node === undefined) {
      throw failed(name, `${place}.node: nodes has no boot id ${JSON.stringify(server.node)}`);
    }
    return { ...server, id, node };
  });
  return { nodes, servers: entries };
}

import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { describeIssues, nameSchema, nodeIdSchema } from './schema.ts';

/** Which node and cluster this process runs on. */
export interface HereIdentity {
  /** The running kernel's boot_id unless overridden: containers share it, virtual machines do not. */
  nodeId: string;
  nodeName: string;
  /** undefined: none known, so no backplane unless the table knows this node's cluster. */
  cluster: string | undefined;
}

/** What the user said: `--node` and `--cluster`. */
export interface HereOverrides {
  node?: string | undefined;
  cluster?: string | undefined;
}

/** The node or cluster given is no valid name, or this kernel's boot id cannot be read. */
export class IdentityError extends Error {
  override readonly name = 'IdentityError';
}

// random(4): a UUID made once at boot.
const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';

/**
 * Says where this process runs: the overrides, else NEARMOUNT_CLUSTER for the cluster and the kernel for the node.
 * @throws IdentityError
 */
export function hereIdentity(
  overrides: HereOverrides = {},
  environment: Record<string, string | undefined> = process.env,
): HereIdentity {
  const nodeId = nodeIdSchema.safeParse(overrides.node ?? readBootId());
  if (!nodeId.success) throw new IdentityError(`the node id given is not valid: ${wrong(nodeId.error)}`);
  const fromEnvironment = environment.NEARMOUNT_CLUSTER;
  const cluster = overrides.cluster ?? (fromEnvironment === '' ? undefined : fromEnvironment);
  const checked = nameSchema.optional().safeParse(cluster);
  if (!checked.success) throw new IdentityError(`the cluster given is not valid: ${wrong(checked.error)}`);
  return { nodeId: nodeId.data, nodeName: hostname(), cluster: checked.data };
}

function wrong(error: Parameters<typeof describeIssues>[0]): string {
  return describeIssues(error).replace(/^the whole: /, 'it ');
}

function readBootId(): string {
  try {
    return readFileSync(BOOT_ID_FILE, 'latin1').trim();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new IdentityError(`cannot tell this node: ${why}; say which it is with --node`, { cause: error });
  }
}

/**
 * A server of one file that forgets at each restart what was written UNSTABLE and not committed, as RFC 1813 allows; and a
 * gateway before it. It fails, is slow and answers short as a test says.
 */
import type { Test } from 'tap';
import { ServerLink } from '../../src/client/link.ts';
import { DEFAULT_ATTRIBUTE_TIMES } from '../../src/gateway/attribute-times.ts';
import type { DirtyBytes } from '../../src/gateway/dirty-bytes.ts';
import { Gateway } from '../../src/gateway/gateway.ts';
import { ROOT_NODE_ID, type CallContext, type WriteData } from '../../src/gateway/operations.ts';
import { STABLE_HOW } from '../../src/nfs3/nfs.ts';
import { NFS3_OK, NFSSTAT3, type nfs3error } from '../../src/nfs3/status.ts';
import type { fattr3 } from '../../src/nfs3/types.ts';
import {
  ATTRIBUTES,
  scriptedSession,
  type CallSeen,
  type Script,
  type Scripted,
} from '../client/scripted-server.ts';

const FILE = Buffer.from('the file');
const ALL_RIGHTS = 0x3f;
const MODIFY_AND_EXTEND = 0x0c;

export interface WriteSeen {
  readonly offset: number;
  readonly count: number;
  readonly stable: number;
}

export class WritingServer {
  /** What survives a restart, and what reads show. */
  disk: Buffer = Buffer.alloc(0);
  memory: Buffer = Buffer.alloc(0);
  readonly writes: WriteSeen[] = [];
  /** Answers to the next WRITEs and COMMITs instead of doing them. */
  failWrites: nfs3error[] = [];
  failCommits: nfs3error[] = [];
  /** Most bytes that one WRITE takes. */
  writesAtMost = Infinity;
  /** What WRITE says of how stable it was; default: as asked. */
  committed: 0 | 1 | 2 | undefined;
  /** What WRITE says it has written; default: the truth. */
  claimedCount: number | undefined;
  rights = ALL_RIGHTS;
  mode = 0o644;
  nlink = 1;
  /** Whether time stamps show each change. */
  hasFineClock = true;
  /** A new verifier with each answer. */
  isForgetful = false;
  /** Dies at the n-th call from now: 1 is the next. Before or after it was done; its reply is never sent. */
  dieAt: { calls: number; isDone: boolean } | undefined;
  /** Resolved by a test that wants calls to wait. */
  hold: Promise<void> | undefined;
  /** Resolved by a test that wants the reply to LINK to come late. */
  lateReply: Promise<void> | undefined;
  /** Turns of the event loop each call takes. */
  delayTurns = (): number => 0;
  isDown = false;
  /** The last name was removed: SETATTR knows the handle no more. */
  isFileGone = false;
  calls: string[] = [];
  #generation = 1;
  #changes = 1;
  #session: Scripted | undefined;

  connect(): Scripted['session'] | undefined {
    if (this.isDown) return undefined;
    this.#session = scriptedSession(this.#script());
    return this.#session.session;
  }

  /** Forgets what is not on disk, and everybody who is connected. */
  restart(): void {
    this.#generation += 1;
    this.memory = Buffer.from(this.disk);
    this.#session?.die();
  }

  /** Changes the file as another client does. */
  replace(content: Buffer): void {
    this.memory = Buffer.from(content);
    this.disk = Buffer.from(content);
    this.#changes += 1;
  }

  attributes(): fattr3 {
    const seconds = this.hasFineClock ? this.#changes : 1;
    const time = { seconds, nseconds: 0 };
    return {
      ...ATTRIBUTES,
      mode: this.mode,
      nlink: this.nlink,
      size: BigInt(this.memory.length),
      mtime: time,
      ctime: time,
    };
  }

  #verifier(): Buffer {
    if (this.isForgetful) this.#generation += 1;
    const verifier = Buffer.alloc(8);
    verifier.writeUInt32BE(this.#generation);
    return verifier;
  }

  /** One call: late, and perhaps the last. */
  async #serve<T>(name: string, context: CallSeen, act: () => T): Promise<T> {
    this.calls.push(name);
    const session = this.#session;
    for (let turns = this.delayTurns(); turns > 0; turns -= 1) await new Promise(setImmediate);
    if (name === 'WRITE' || name === 'COMMIT') await this.hold;
    // One that died meanwhile does nothing any more.
    if (session !== this.#session) throw new Error(`${context.procedure} came to a server that is gone`);
    if (this.dieAt !== undefined) {
      this.dieAt.calls -= 1;
      if (this.dieAt.calls <= 0) {
        const { isDone } = this.dieAt;
        this.dieAt = undefined;
        if (isDone) act();
        this.restart();
        throw new Error('died');
      }
    }
    return act();
  }

  #script(): Script {
    const wcc = () => ({ before: null, after: this.attributes() });
    return {
      GETATTR: ({ object }, context) =>
        this.#serve('GETATTR', context, () => {
          const isFile = FILE.equals(object.data);
          const attributes = isFile ? this.attributes() : { ...ATTRIBUTES, type: 2 as const, fileid: 1n };
          return { status: NFS3_OK, obj_attributes: attributes };
        }),
      LOOKUP: (_args, context) =>
        this.#serve('LOOKUP', context, () => ({
          status: NFS3_OK,
          object: { data: FILE },
          obj_attributes: this.attributes(),
          dir_attributes: null,
        })),
      ACCESS: (_args, context) =>
        this.#serve('ACCESS', context, () => ({
          status: NFS3_OK,
          obj_attributes: this.attributes(),
          access: this.rights,
        })),
      READ: ({ offset, count }, context) =>
        this.#serve('READ', context, () => {
          const data = Buffer.from(this.memory.subarray(Number(offset), Number(offset) + count));
          const eof = Number(offset) + count >= this.memory.length;
          return { status: NFS3_OK, file_attributes: null, count: data.length, eof, data: [data] };
        }),
      WRITE: ({ offset, count, stable, data }, context) =>
        this.#serve('WRITE', context, () => {
          this.writes.push({ offset: Number(offset), count, stable });
          const failure = this.failWrites.shift();
          if (failure !== undefined) return { status: failure, wcc: { before: null, after: null } };
          const bytes = Buffer.concat([...data]).subarray(0, Math.min(count, this.writesAtMost));
          this.memory = patched(this.memory, Number(offset), bytes);
          this.#changes += 1;
          const committed = this.committed ?? stable;
          if (committed !== STABLE_HOW.UNSTABLE) this.disk = patched(this.disk, Number(offset), bytes);
          const claimed = this.claimedCount ?? bytes.length;
          return { status: NFS3_OK, wcc: wcc(), count: claimed, committed, verf: this.#verifier() };
        }),
      COMMIT: (_args, context) =>
        this.#serve('COMMIT', context, () => {
          const failure = this.failCommits.shift();
          if (failure !== undefined) return { status: failure, wcc: { before: null, after: null } };
          if (!this.isForgetful) this.disk = Buffer.from(this.memory);
          return { status: NFS3_OK, wcc: wcc(), verf: this.#verifier() };
        }),
      RENAME: (_args, context) =>
        this.#serve('RENAME', context, () => ({ status: NFS3_OK, fromdir_wcc: wcc(), todir_wcc: wcc() })),
      LINK: async (_args, context) => {
        const reply = await this.#serve('LINK', context, () => {
          return { status: NFS3_OK, file_attributes: this.attributes(), linkdir_wcc: wcc() };
        });
        await this.lateReply;
        return reply;
      },
      REMOVE: (_args, context) => this.#serve('REMOVE', context, () => ({ status: NFS3_OK, wcc: wcc() })),
      SETATTR: ({ new_attributes: { size, mode } }, context) =>
        this.#serve('SETATTR', context, () => {
          if (this.isFileGone) return { status: NFSSTAT3.NFS3ERR_STALE, wcc: { before: null, after: null } };
          if ((this.rights & MODIFY_AND_EXTEND) === 0)
            return { status: NFSSTAT3.NFS3ERR_ACCES, wcc: { before: null, after: null } };
          if (size !== null) {
            this.memory = resized(this.memory, Number(size));
            this.disk = resized(this.disk, Number(size));
          }
          if (mode !== null) this.mode = mode;
          this.#changes += 1;
          return { status: NFS3_OK, wcc: wcc() };
        }),
    };
  }
}

export function patched(content: Buffer, offset: number, bytes: Uint8Array): Buffer {
  const result = Buffer.alloc(Math.max(content.length, offset + bytes.length));
  content.copy(result);
  result.set(bytes, offset);
  return result;
}

export function resized(content: Buffer, size: number): Buffer {
  const result = Buffer.alloc(size);
  content.copy(result);
  return result;
}

export interface Mounted {
  readonly gateway: Gateway;
  readonly link: ServerLink;
  /** The file's. */
  readonly nodeId: bigint;
  readonly warnings: string[];
}

export interface MountedOptions {
  readonly wsizeBytes?: number;
  readonly hard?: boolean;
  readonly timedOutErrno?: number;
  readonly dirty?: DirtyBytes;
}

export async function mountBefore(server: WritingServer, options: MountedOptions = {}): Promise<Mounted> {
  const warnings: string[] = [];
  const session = server.connect();
  if (session === undefined) throw new Error('the server is down');
  const link = new ServerLink(
    session,
    async () => server.connect(),
    {
      hard: options.hard ?? true,
      timeoutMs: options.hard === false ? 40 : 60_000,
      retransmissions: 1,
      pauses: { reconnectMinMs: 1, reconnectMaxMs: 2, jukeboxMs: 1 },
    },
    { onLost: () => undefined, onRestored: () => undefined, onTryFailed: () => undefined },
  );
  const gateway = new Gateway(
    {
      attributeTimes: DEFAULT_ATTRIBUTE_TIMES,
      rsizeBytes: 4096,
      wsizeBytes: options.wsizeBytes ?? 4096,
      dataPath: 'passthrough',
      ...(options.dirty === undefined ? {} : { dirty: options.dirty }),
      ...(options.timedOutErrno === undefined ? {} : { timedOutErrno: options.timedOutErrno }),
    },
    {
      link,
      rootAttributes: { ...ATTRIBUTES, type: 2, fileid: 1n },
      routes: { why: 'a test', verdicts: [] },
      processOf: () => {
        throw new Error('there are no processes here');
      },
      onWarning: (message) => warnings.push(message),
    },
  );
  const entry = await gateway.lookup(ROOT_NODE_ID, Buffer.from('file'), context());
  if (typeof entry === 'number') throw new Error(`LOOKUP: errno ${entry}`);
  return { gateway, link, nodeId: entry.nodeId, warnings };
}

export function context(signal = new AbortController().signal): CallContext {
  return { uid: 1000, gid: 1000, pid: 0, signal };
}

/** Bytes of a WRITE in memory that the driver uses again at once. */
export function writeData(content: Uint8Array): WriteData & { readonly reuse: () => void } {
  const bytes = Buffer.from(content);
  return {
    bytes,
    take: () => Buffer.from(bytes),
    reuse: () => {
      bytes.fill(0xee);
    },
  };
}

/** Nothing of a server in memory keeps the process, and a link that reconnects waits with timers that do not. */
export function keepRunning(t: Test): void {
  const timer = setInterval(() => undefined, 1_000);
  t.teardown(() => {
    clearInterval(timer);
  });
}

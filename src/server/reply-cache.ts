/**
 * Calls that are not idempotent take effect once, however often they come. Those of FGDP clients are known by the
 * client's id and their xid, over all its connections, and on record; those of others by address and xid, for a while. To
 * be the same, a call must also have the same arguments and come from the same caller: whoever learns a client's id
 * gets no reply that was not his.
 */
import { hash } from 'node:crypto';
import { NFSSTAT3 } from '../nfs3/status.ts';
import type { Executed, OnceCall, TakeOnce } from '../rpc/dispatcher.ts';
import type { Identity } from '../store/identity.ts';
import type { Store } from '../store/store.ts';
import { CALL_KEY_BYTES, type CallLog, type CallName } from './call-log.ts';
import {
  callerIdentity,
  mayUseExport,
  type ClientSession,
  type Intent,
  type ServerContext,
} from './client-session.ts';
import { RecentReplies } from './recent-replies.ts';

/** Length of the opaque that a file handle is, before its bytes. */
const HANDLE_LENGTH_BYTES = 4;

type Execute = (context: ServerContext) => Executed | Promise<Executed>;

/** What a result leaves behind when it is settled. */
type Settle = (reply: Buffer) => void;

export class ReplyCache {
  readonly #store: Store;
  readonly #log: CallLog;
  readonly #recent: RecentReplies;
  /** Calls that their procedures wait with. */
  readonly #underWay = new Map<string, Promise<Buffer>>();

  constructor(store: Store, log: CallLog, recent = new RecentReplies()) {
    this.#store = store;
    this.#log = log;
    this.#recent = recent;
  }

  readonly once: TakeOnce<ServerContext> = (call, context, execute) => {
    const { session } = context;
    const args = Buffer.concat(call.args);
    const caller = this.#callerOf(args, context);
    // Who may not use the export is refused by the procedure, each time.
    if (caller === undefined) return bodyOf(execute(context));
    const key = keyOf(call, args, caller);
    const { clientId } = session;
    if (clientId !== undefined)
      return this.#known({ clientId, key, peer: peerOf(session) }, context, execute);
    return this.#unknown(`${peerOf(session)} ${key}`, context, execute);
  };

  /** A call of a client that says its name. */
  #known(call: CallName, context: ServerContext, execute: Execute): Buffer[] | Promise<Buffer[]> {
    const kept = this.#log.find(call);
    if (kept?.reply !== undefined) return [Buffer.from(kept.reply)];
    let hasBegun = false;
    const intent: Intent = {
      begin: (before) => {
        if (hasBegun) throw new Error('a call begins once');
        hasBegun = true;
        if (kept?.before !== undefined) return kept.before;
        this.#log.begin(call, before);
        return undefined;
      },
    };
    return this.#run(call.clientId + call.key, () => execute({ ...context, intent }), {
      keep: (reply) => {
        this.#log.settle(call, reply);
      },
      drop: () => {
        this.#log.forget(call);
      },
    });
  }

  #unknown(name: string, context: ServerContext, execute: Execute): Buffer[] | Promise<Buffer[]> {
    const reply = this.#recent.find(name);
    if (reply !== undefined) return [Buffer.from(reply)];
    return this.#run(name, () => execute(context), {
      keep: (body) => {
        this.#recent.keep(name, body);
      },
      drop: () => undefined,
    });
  }

  /** A duplicate of a call that is under way waits for its outcome, also where that is a failure. */
  #run(
    name: string,
    execute: () => Executed | Promise<Executed>,
    outcome: { readonly keep: Settle; readonly drop: () => void },
  ): Buffer[] | Promise<Buffer[]> {
    const underWay = this.#underWay.get(name);
    if (underWay !== undefined) return underWay.then((reply) => [reply]);
    const settle = ({ result, body }: Executed): Buffer => {
      const reply = Buffer.concat(body);
      if (isJukebox(result)) outcome.drop();
      else outcome.keep(reply);
      return reply;
    };
    const executed = execute();
    if (!(executed instanceof Promise)) return [settle(executed)];
    const running = executed.then(settle).finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, running);
    return running.then((reply) => [reply]);
  }

  /** Whom the export takes the caller for; undefined where there is no such export for the client. */
  #callerOf(args: Buffer, context: ServerContext): Identity | undefined {
    // The arguments of every such procedure begin with a file handle (RFC 1813 section 3.3).
    if (args.length < HANDLE_LENGTH_BYTES) return undefined;
    const end = HANDLE_LENGTH_BYTES + args.readUInt32BE(0);
    const tree = this.#store.exportOf(args.subarray(HANDLE_LENGTH_BYTES, end));
    if (tree === undefined || !mayUseExport(context.session, tree.options)) return undefined;
    return callerIdentity(context, tree.options);
  }
}

function bodyOf(
  executed: Executed | Promise<Executed>,
): readonly Uint8Array[] | Promise<readonly Uint8Array[]> {
  return executed instanceof Promise ? executed.then(({ body }) => body) : executed.body;
}

function isJukebox(result: unknown): boolean {
  return (result as { status?: number } | undefined)?.status === NFSSTAT3.NFS3ERR_JUKEBOX;
}

function peerOf({ peer }: ClientSession): string {
  return peer.kind === 'tcp' ? peer.address : `uid ${peer.identity.uid}`;
}

/** Equal for one call that comes twice. It cannot be aimed at: nobody finds another call with the key of a given one. */
function keyOf(call: OnceCall, args: Buffer, { uid, gid, groups }: Identity): string {
  const { info, program, version, procedure } = call;
  // Over another route the same groups may come in another order.
  const others = [...new Set(groups)].filter((group) => group !== gid).sort((a, b) => a - b);
  const head = Uint32Array.of(info.xid, program, version, procedure, uid, gid, others.length, ...others);
  const digest = hash('sha256', Buffer.concat([new Uint8Array(head.buffer), args]), 'buffer');
  return digest.toString('latin1', 0, CALL_KEY_BYTES);
}

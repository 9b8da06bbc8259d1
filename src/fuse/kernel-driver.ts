/** The session with the kernel on /dev/fuse: requests in, replies out, on one event loop. */
import { errnoOf } from '../system/errno.ts';
import {
  closeBacking,
  hasRequests,
  notifyDeviceAside,
  openBacking,
  readDevice,
  writeDevice,
} from '../system/fuse-device.ts';
import { closeFd } from '../system/files.ts';
import { watchReadable, type Watch } from '../system/watch.ts';
import type { CallContext, KernelServices, Operations } from '../gateway/operations.ts';
import {
  FUSE_INIT_FLAG,
  FUSE_LOCK_FLAGS,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_NOTIFY_INVAL_INODE,
  FUSE_OPCODE,
  fuse_batch_forget_in,
  fuse_forget_in,
  fuse_forget_one,
  fuse_in_header,
  fuse_init_in,
  fuse_init_out,
  fuse_interrupt_in,
  fuse_notify_inval_inode_out,
  fuse_out_header,
} from './abi.ts';
import {
  CONGESTION_THRESHOLD,
  INTERRUPT_GRACE_MS,
  MAX_BACKGROUND,
  MAX_PAGES,
  MAX_WRITE_BYTES,
  MINOR_VERSION_MIN,
  READ_AHEAD_KIB,
} from './limits.ts';
import type { DriverLog, FuseDriver } from './driver.ts';
import type { ReplyBody, Request } from './request-handler.ts';
import { NameNotices, type WriteAside } from './name-notices.ts';
import { RequestMemory } from './request-memory.ts';
import { REQUEST_HANDLERS, discard } from './requests.ts';

const EINTR = 4;
const EIO = 5;
const ENOSYS = 38;
const EPROTO = 71;
const EOPNOTSUPP = 95;
/** The unique of an INTERRUPT is the interrupted request's with this bit set: fs/fuse/fuse_i.h, FUSE_INT_REQ_BIT. */
const INTERRUPT_BIT = 1n;
const WITHOUT_ANSWER: ReadonlySet<number> = new Set([
  FUSE_OPCODE.FORGET,
  FUSE_OPCODE.BATCH_FORGET,
  FUSE_OPCODE.INTERRUPT,
]);
/** Requests taken in a row before timers and sockets get their turn. */
const REQUESTS_PER_TURN = 64;

/** A request being worked on, and what its operation is told about its caller. */
class PendingRequest implements CallContext {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  readonly heedsInterrupts: boolean;
  readonly nodeId: bigint;
  #controller: AbortController | undefined;
  #answered = false;
  #timer: NodeJS.Timeout | undefined;

  constructor({ nodeid, uid, gid, pid, opcode }: fuse_in_header) {
    this.nodeId = nodeid;
    this.uid = uid;
    this.gid = gid;
    this.pid = pid;
    this.heedsInterrupts = REQUEST_HANDLERS.get(opcode)?.heedsInterrupts === true;
  }

  /** Made on demand: few operations ever wait long enough to look at it. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  /** Marks the request as answered; false when it had been before. */
  answer(): boolean {
    if (this.#answered) return false;
    this.#answered = true;
    clearTimeout(this.#timer);
    return true;
  }

  /** @param heeds the operation answers by itself, and soon, when it is told */
  interrupt(heeds: boolean, answerNow: () => void): void {
    if (heeds) {
      this.#controller ??= new AbortController();
      this.#controller.abort();
    }
    this.#timer ??= setTimeout(() => {
      if (this.#answered) return;
      answerNow();
      this.#controller ??= new AbortController();
      this.#controller.abort();
    }, INTERRUPT_GRACE_MS);
  }
}

export class KernelDriver implements FuseDriver, KernelServices {
  readonly #fd: number;
  readonly #operations: Operations;
  readonly #log: DriverLog;
  readonly #memory = new RequestMemory();
  readonly #pending = new Map<bigint, PendingRequest>();
  readonly #notices: NameNotices;
  #passthrough = false;
  passesLocks = false;
  #initialized = false;
  #stopping = false;
  #closed = false;
  /** Answers that nobody waits for: those that somebody waits for go first. */
  readonly #unawaited: (() => void)[] = [];
  #watch: Watch | undefined;
  #onEnd: (() => void) | undefined;
  #onCrash: ((error: unknown) => void) | undefined;

  /**
   * @param fd of /dev/fuse, non-blocking and mounted; the driver closes it when the session ends
   * @param operations the file system
   */
  constructor(fd: number, operations: Operations, log: DriverLog) {
    this.#fd = fd;
    this.#operations = operations;
    this.#log = log;
    const write: WriteAside = (message, done) => {
      notifyDeviceAside(fd, message, done);
    };
    this.#notices = new NameNotices(write, (directory) => {
      if (hasRequests(fd)) return true;
      for (const { nodeId } of this.#pending.values()) if (nodeId === directory) return true;
      return false;
    });
  }

  /** Requests that wait for their answer. */
  get requestsPending(): number {
    return this.#pending.size;
  }

  /** Serves until the file system is unmounted or `stop` is called. */
  async run(): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.#onEnd = resolve;
        this.#onCrash = reject;
        if (this.#stopping) resolve();
        this.#watch = watchReadable(this.#fd, () => {
          this.#serveWaiting();
        });
      });
    } finally {
      this.#stopping = true;
      this.#watch?.stop();
      await this.#endNotices();
      this.#operations.destroy();
      this.#closed = true;
      closeFd(this.#fd);
    }
  }

  /** Ends `run` after the requests at hand; open files that are passed through go on. */
  stop(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#onEnd?.();
  }

  openBacking(descriptor: number): { readonly backingId: number } | number {
    if (!this.#passthrough || this.#closed) return EOPNOTSUPP;
    try {
      return { backingId: openBacking(this.#fd, descriptor) };
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === undefined) throw error;
      return errno;
    }
  }

  closeBacking(backingId: number): void {
    if (!this.#closed) closeBacking(this.#fd, backingId);
  }

  invalidateAttributes(nodeId: bigint): void {
    // A negative offset leaves the pages alone. Dropping pages from here could wait for a READ only we can answer.
    const body = fuse_notify_inval_inode_out.encode({ ino: nodeId, off: 0xffffffffffffffffn, len: 0n });
    this.#write(0n, FUSE_NOTIFY_INVAL_INODE, [body]);
  }

  readonly expireName = (directory: bigint, name: Uint8Array): void => {
    if (!this.#closed) this.#notices.expire(directory, name);
  };

  /** A notice under way may wait for a lock whose holder waits for an answer: each gets one, until the notice is through. */
  async #endNotices(): Promise<void> {
    const idle = this.#notices.stop();
    if (!this.#notices.isWriting) return;
    for (const [unique, pending] of this.#pending) if (pending.answer()) this.#write(unique, -EIO, []);
    const watch = watchReadable(this.#fd, () => {
      if (this.#refuseWaiting() === 'unmounted') watch.stop();
    });
    await idle;
    watch.stop();
  }

  #refuseWaiting(): 'drained' | 'unmounted' {
    for (;;) {
      const { room } = this.#memory;
      const length = readDevice(this.#fd, room);
      if (length === 'drained' || length === 'unmounted') return length;
      if (length === 'retry') continue;
      const { opcode, unique } = fuse_in_header.decode(room.subarray(0, length));
      if (!WITHOUT_ANSWER.has(opcode)) this.#write(unique, -EIO, []);
    }
  }

  /** Takes requests until none waits, or for one turn: timers and sockets come next, and then this again. */
  #serveWaiting(): void {
    try {
      for (let served = 0; served < REQUESTS_PER_TURN && !this.#stopping; served += 1) {
        const { room } = this.#memory;
        const length = readDevice(this.#fd, room);
        if (length === 'drained') return;
        if (length === 'unmounted') {
          this.stop();
          return;
        }
        if (length !== 'retry') this.#dispatch(room.subarray(0, length));
      }
    } catch (error) {
      this.#onCrash?.(error);
    } finally {
      for (const answer of this.#unawaited.splice(0)) answer();
    }
  }

  #dispatch(request: Buffer): void {
    const header = fuse_in_header.decode(request);
    const body = request.subarray(fuse_in_header.sizeBytes, header.len);
    const { opcode, unique, nodeid } = header;
    try {
      switch (opcode) {
        case FUSE_OPCODE.INIT:
          this.#init(unique, body);
          return;
        case FUSE_OPCODE.FORGET:
          this.#operations.forget(nodeid, fuse_forget_in.decode(body).nlookup);
          return;
        case FUSE_OPCODE.BATCH_FORGET:
          this.#batchForget(body);
          return;
        case FUSE_OPCODE.INTERRUPT:
          this.#interrupt(body);
          return;
        case FUSE_OPCODE.DESTROY:
          this.#write(unique, 0, []);
          this.stop();
          return;
        default:
          this.#call(opcode, unique, new PendingRequest(header), {
            nodeId: nodeid,
            body,
            keepMemory: () => this.#memory.keep(request.length),
          });
      }
    } catch (error) {
      this.#log.onFault(`request ${opcode} failed`, error);
      if (unique !== 0n) this.#write(unique, -EIO, []);
    }
  }

  #call(opcode: number, unique: bigint, pending: PendingRequest, request: Omit<Request, 'context'>): void {
    const handler = REQUEST_HANDLERS.get(opcode);
    if (handler === undefined) {
      this.#write(unique, -ENOSYS, []);
      return;
    }
    const answer = handler.handle(this.#operations, { ...request, context: pending });
    if (!(answer instanceof Promise)) {
      if (handler.isAwaited === false) this.#unawaited.push(() => this.#reply(opcode, unique, answer));
      else this.#reply(opcode, unique, answer);
      return;
    }
    this.#pending.set(unique, pending);
    answer
      .catch((error: unknown) => {
        this.#log.onFault(`${handler.name} failed`, error);
        return EIO;
      })
      .then((outcome) => {
        this.#pending.delete(unique);
        if (pending.answer()) this.#reply(opcode, unique, outcome);
        else if (typeof outcome !== 'number') discard(this.#operations, opcode, outcome);
      })
      .catch((error: unknown) => {
        this.#log.onFault(`the reply to ${handler.name} could not be written`, error);
      });
  }

  /**
   * ENOSYS of an operation means this one file or server: the kernel would take it for the whole mount and never ask again,
   * and for fsync and close it would even mean success from then on.
   */
  #reply(opcode: number, unique: bigint, outcome: number | ReplyBody): void {
    if (typeof outcome === 'number') {
      this.#write(unique, -(outcome === ENOSYS ? EOPNOTSUPP : outcome), []);
    } else if (!this.#write(unique, 0, outcome)) {
      discard(this.#operations, opcode, outcome);
    }
  }

  /** One write(2) with header and body; false when the kernel no longer waits for it. */
  #write(unique: bigint, error: number, body: ReplyBody): boolean {
    // By now the number may be another file's.
    if (this.#closed) return false;
    let length = fuse_out_header.sizeBytes;
    for (const piece of body) length += piece.length;
    const header = fuse_out_header.encode({ len: length, error, unique });
    try {
      return writeDevice(this.#fd, [header, ...body]);
    } catch (failure) {
      // Unmounted under way: the loop will see it too.
      if (!this.#stopping) this.#log.onWarning('a reply could not be written', failure);
      return false;
    }
  }

  #interrupt(body: Uint8Array): void {
    const unique = fuse_interrupt_in.decode(body).unique & ~INTERRUPT_BIT;
    const pending = this.#pending.get(unique);
    // Either answered already, or handled before its INTERRUPT was read.
    if (pending === undefined) return;
    pending.interrupt(pending.heedsInterrupts, () => {
      if (pending.answer()) this.#write(unique, -EINTR, []);
    });
  }

  #batchForget(body: Uint8Array): void {
    const { count } = fuse_batch_forget_in.decode(body);
    let at = fuse_batch_forget_in.sizeBytes;
    for (let index = 0; index < count; index += 1) {
      const { nodeid, nlookup } = fuse_forget_one.decode(body.subarray(at));
      this.#operations.forget(nodeid, nlookup);
      at += fuse_forget_one.sizeBytes;
    }
  }

  #init(unique: bigint, body: Uint8Array): void {
    const offer = fuse_init_in.decode(body);
    if (offer.major !== FUSE_KERNEL_VERSION || offer.minor < MINOR_VERSION_MIN) {
      this.#log.onFault(
        `the kernel speaks FUSE ${offer.major}.${offer.minor}; ${FUSE_KERNEL_VERSION}.${MINOR_VERSION_MIN} or newer is needed`,
        undefined,
      );
      this.#write(unique, -EPROTO, []);
      this.stop();
      return;
    }
    const offered = BigInt(offer.flags) | (BigInt(offer.flags2) << 32n);
    let flags = this.#operations.sharesLocks === true ? offered & FUSE_LOCK_FLAGS : 0n;
    this.passesLocks = flags === FUSE_LOCK_FLAGS;
    for (const flag of Object.values(FUSE_INIT_FLAG)) flags |= offered & flag;
    this.#passthrough = (flags & FUSE_INIT_FLAG.PASSTHROUGH) !== 0n;
    const reply = fuse_init_out.encode({
      major: FUSE_KERNEL_VERSION,
      minor: FUSE_KERNEL_MINOR_VERSION,
      // The smaller of this and the mount's own setting counts, which widenReadAhead has set by now.
      max_readahead: Math.max(offer.max_readahead, READ_AHEAD_KIB * 1024),
      flags: Number(flags & 0xffffffffn),
      max_background: MAX_BACKGROUND,
      congestion_threshold: CONGESTION_THRESHOLD,
      max_write: MAX_WRITE_BYTES,
      time_gran: 1,
      max_pages: MAX_PAGES,
      map_alignment: 0,
      flags2: Number(flags >> 32n),
      max_stack_depth: this.#passthrough ? 1 : 0,
      request_timeout: 0,
      unused: new Uint8Array(22),
    });
    this.#write(unique, 0, [reply]);
    if (this.#initialized) return;
    this.#initialized = true;
    this.#operations.init(this);
  }
}

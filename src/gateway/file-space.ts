/**
 * Space of files and copies within the server, where it speaks of them: fallocate(2), SEEK_DATA and SEEK_HOLE,
 * copy_file_range(2). Otherwise the answers are those of a file system without them, and programs do without.
 */
import { FileCalls, type ChangeAnswer, type SpaceRange } from '../client/file-calls.ts';
import type { ServerLink, Waiter } from '../client/link.ts';
import type { Interruptible } from './dirty-bytes.ts';
import { errnoOfSystemError } from './held-errors.ts';
import { unlessInterrupted } from './interruption.ts';
import type { Knowledge } from './knowledge.ts';
import { COPY_ASKED_BYTES_MAX } from './limits.ts';
import type { OpenFile } from './open-file.ts';
import { writableIn, type HeldFile } from './open-inode.ts';
import type { Errno, Outcome } from './operations.ts';
import type { Author } from './write-author.ts';

const EINTR = 4;
const EIO = 5;
const EBADF = 9;
const EINVAL = 22;
const EOPNOTSUPP = 95;
/** Of lseek(2). */
const SEEK_DATA = 3;

/** All of them reject with StatusError EINTR or RpcError. */
export class FileSpace {
  readonly #calls: FileCalls;
  readonly #knowledge: Knowledge;

  constructor(link: ServerLink, knowledge: Knowledge) {
    this.#calls = new FileCalls(link);
    this.#knowledge = knowledge;
  }

  /**
   * Where data or a hole begins. EINVAL where the server cannot say, as on a file system without SEEK_HOLE: cp and tar then
   * look for zeros, where the answer 'all data' would have them write every hole out.
   */
  async seek(
    { inode, caller }: OpenFile,
    offset: bigint,
    whence: number,
    waiter: Interruptible,
  ): Promise<Outcome<{ readonly offset: bigint }>> {
    if (!this.#calls.knowsSpace) return EINVAL;
    const what = whence === SEEK_DATA ? 'data' : 'hole';
    const asker: Waiter = { ...credentialsOf(caller), signal: waiter.signal };
    const ask = () => this.#calls.seek({ handle: inode.handle, offset }, what, asker);
    const writer = inode.open?.writer;
    const answer = await (writer?.isClean === false ? unlessInterrupted(writer.showing(ask), waiter) : ask());
    if (answer === undefined) return EINVAL;
    const { outcome, attributes } = answer;
    if ('value' in outcome) return { offset: outcome.value };
    this.#knowledge.learn(inode, attributes);
    const { errno, status } = outcome.refused;
    return status === undefined ? errno : this.#knowledge.failed(inode, status);
  }

  /** fallocate(2), after what was written before. EOPNOTSUPP where the server or its file system cannot. */
  async allocate(file: OpenFile, range: SpaceRange, waiter: Interruptible): Promise<Errno> {
    const { author, inode } = file;
    if (author === undefined) return EBADF;
    const held = writableIn(inode.open);
    // The file itself is at hand, whatever its mode is now, and whether it has a name or not.
    if (held !== undefined) return unlessInterrupted(this.#allocateHeld(file, held, range), waiter);
    const done = await this.#change(file, author, waiter, (asker) =>
      this.#calls.allocate(inode.handle, range, asker),
    );
    return typeof done === 'number' ? done : 0;
  }

  /**
   * copy_file_range(2): within the server, after what was written to either file before. EOPNOTSUPP, on which the kernel
   * copies by reading and writing, where the server cannot, or the two files were opened by different users.
   */
  async copy(
    from: OpenFile,
    fromOffset: bigint,
    to: OpenFile,
    toOffset: bigint,
    lengthBytes: bigint,
    waiter: Interruptible,
  ): Promise<Outcome<{ readonly copiedBytes: number }>> {
    const { author, inode } = to;
    if (author === undefined) return EBADF;
    // Of files without a name the server knows nothing.
    const isNameless = [from, to].some((file) => file.inode.attributes.nlink === 0);
    if (author.key !== from.caller.key || isNameless) return EOPNOTSUPP;
    const asked = lengthBytes < COPY_ASKED_BYTES_MAX ? lengthBytes : BigInt(COPY_ASKED_BYTES_MAX);
    const source = { handle: from.inode.handle, offset: fromOffset };
    const target = { handle: inode.handle, offset: toOffset };
    const copy = () =>
      this.#change(to, author, waiter, (asker) => this.#calls.copy(source, target, asked, asker));
    const writer = from.inode === inode ? undefined : from.inode.open?.writer;
    const copied = await (writer?.isClean === false
      ? unlessInterrupted(writer.showing(copy), waiter)
      : copy());
    if (typeof copied === 'number') return copied;
    return copied.value > asked ? EIO : { copiedBytes: Number(copied.value) };
  }

  async #allocateHeld({ inode }: OpenFile, { file }: HeldFile, range: SpaceRange): Promise<Errno> {
    try {
      await file.allocate(range);
    } catch (error) {
      return errnoOfSystemError(error);
    }
    this.#knowledge.look(inode);
    return 0;
  }

  /** Changes a file in the name of who has opened it, with everything that was written before on stable storage. */
  #change<T>(
    { inode }: OpenFile,
    author: Author,
    waiter: Interruptible,
    call: (asker: Waiter) => Promise<ChangeAnswer<T> | undefined>,
  ): Promise<Outcome<{ readonly value: T }>> {
    const asker: Waiter = { ...credentialsOf(author), signal: waiter.signal };
    const change = async (): Promise<Outcome<{ readonly value: T }>> => {
      if (waiter.signal.aborted) return EINTR;
      const answer = await call(asker).catch((error: unknown) => {
        // It may have been done all the same.
        this.#knowledge.doubt(inode);
        throw error;
      });
      if (answer === undefined) return EOPNOTSUPP;
      const { outcome, wcc } = answer;
      if ('value' in outcome) {
        this.#knowledge.changed(inode, wcc.after, true);
        return outcome;
      }
      this.#knowledge.learn(inode, wcc.after);
      const { errno, status } = outcome.refused;
      return status === undefined ? errno : this.#knowledge.failed(inode, status);
    };
    if (!this.#calls.knowsSpace) return Promise.resolve(EOPNOTSUPP);
    const writer = inode.open?.writer;
    // Bytes that were sent again after the change would undo it.
    return writer === undefined ? change() : unlessInterrupted(writer.exclusively(true, change), waiter);
  }
}

function credentialsOf({ credential, wide }: Omit<Waiter, 'signal'>): Omit<Waiter, 'signal'> {
  return { credential, wide };
}

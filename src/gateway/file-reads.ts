/** Reading from open files: from what was granted or is shared, else by READ messages. */
import type { ServerLink } from '../client/link.ts';
import { NFS3_OK } from '../nfs3/status.ts';
import { unlessInterrupted } from './interruption.ts';
import type { Interruptible } from './dirty-bytes.ts';
import type { Knowledge } from './knowledge.ts';
import type { OpenFile } from './open-file.ts';
import { errnoOfSystemError } from './held-errors.ts';
import { heldIn } from './open-inode.ts';
import type { Answer, Outcome } from './operations.ts';
import { PageReader } from './page-reader.ts';
import { StatusError } from './status-error.ts';
import { WireReader, type WireRead } from './wire-reader.ts';

const EIO = 5;

export class FileReads {
  /** Bytes read by READ messages. What passes through is never seen by the gateway. */
  wireBytes = 0n;
  /** Bytes read from granted files, and from pages in shared memory. */
  mappedBytes = 0n;
  /** Reads by wire of files whose pages are shared otherwise. */
  mapFallbacks = 0;
  /** Why the last file, or read, that had to use the wire did. */
  lastWireReason: string | undefined;
  readonly #link: ServerLink;
  readonly #knowledge: Knowledge;
  readonly #rsizeBytes: number;

  /** @param rsizeBytes bytes of one READ, 4 KiB to 1 MiB */
  constructor(link: ServerLink, knowledge: Knowledge, rsizeBytes: number) {
    this.#link = link;
    this.#knowledge = knowledge;
    this.#rsizeBytes = rsizeBytes;
  }

  /**
   * Reads a file that was granted, or what is held of one whose pages are shared; undefined where `read` serves. Bytes
   * that come at once are good until the next call only.
   */
  readHeld(file: OpenFile, offset: bigint, sizeBytes: number): Answer<readonly Uint8Array[]> | undefined {
    const held = heldIn(file.inode.open);
    if (held === undefined) {
      const bytes = file.direct ? undefined : pageReaderOf(file)?.readHeld(offset, sizeBytes);
      if (bytes === undefined) return undefined;
      this.mappedBytes += BigInt(bytes.length);
      return [bytes];
    }
    const taken = (bytes: Uint8Array): readonly Uint8Array[] => {
      this.mappedBytes += BigInt(bytes.length);
      return [bytes];
    };
    try {
      const read = held.file.read(offset, sizeBytes);
      return read instanceof Promise ? read.then(taken, errnoOfSystemError) : taken(read);
    } catch (error) {
      return errnoOfSystemError(error);
    }
  }

  /** Where data or a hole begins, as the granted file says; undefined where the server is to be asked. */
  seek(file: OpenFile, offset: bigint, whence: number): Outcome<{ readonly offset: bigint }> | undefined {
    const held = heldIn(file.inode.open);
    if (held === undefined) return undefined;
    try {
      return { offset: held.file.seek(offset, whence) };
    } catch (error) {
      return errnoOfSystemError(error);
    }
  }

  /** Reads with the calls it takes. Rejects with StatusError or RpcError. */
  async read(
    file: OpenFile,
    offset: bigint,
    sizeBytes: number,
    waiter: Interruptible,
  ): Promise<readonly Uint8Array[]> {
    const mapped = await pageReaderOf(file)?.read(offset, sizeBytes, file.direct);
    if (mapped instanceof Uint8Array) {
      this.mappedBytes += BigInt(mapped.length);
      return [mapped];
    }
    if (mapped !== undefined) {
      this.mapFallbacks += 1;
      this.lastWireReason = mapped.reason;
    }
    const reader = (file.reader ??= new WireReader(
      (at, countBytes) => this.#fetch(file, at, countBytes),
      this.#rsizeBytes,
    ));
    const { inode } = file;
    // Each reply to a WRITE makes a new version: nothing that was read ahead before it is handed out.
    const read = () =>
      file.direct ? reader.readDirect(offset, sizeBytes) : reader.read(offset, sizeBytes, inode.version);
    const writer = inode.open?.writer;
    const isDirty = writer?.isClean === false;
    const pieces = await (isDirty ? unlessInterrupted(writer.showing(read), waiter) : read());
    for (const piece of pieces) this.wireBytes += BigInt(piece.length);
    return pieces;
  }

  async #fetch({ inode, caller }: OpenFile, offset: bigint, countBytes: number): Promise<WireRead> {
    const count = Math.min(countBytes, this.#rsizeBytes);
    const reply = await this.#link.nfs('READ', { file: { data: inode.handle }, offset, count }, caller);
    if (reply.status !== NFS3_OK) throw new StatusError(this.#knowledge.failed(inode, reply.status));
    let lengthBytes = 0;
    for (const piece of reply.data) lengthBytes += piece.length;
    // More than was asked would reach the kernel as bytes of another place in the file.
    if (lengthBytes > count || lengthBytes !== reply.count) throw new StatusError(EIO);
    // A reply without data that is not the end would be asked again for ever.
    return { pieces: reply.data, lengthBytes, eof: reply.eof || lengthBytes === 0 };
  }
}

function pageReaderOf(file: OpenFile): PageReader | undefined {
  const { open } = file.inode;
  if (open?.pages === undefined || open.writer !== undefined) return undefined;
  return (file.pageReader ??= new PageReader(open.pages, file.caller));
}

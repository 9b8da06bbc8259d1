/** A log of small records in the state directory, which outlives the process that wrote it. */
import { randomInt } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { allocate } from '../system/allocate.ts';
import { ErrnoError } from '../system/errno.ts';
import { tryLock } from '../system/file-lock.ts';
import { becomeServer } from '../system/identity.ts';
import { STATE_LOG_RECORD_BYTES_MAX } from './limits.ts';

/*
 * Two files, NAME.0 and NAME.1, of which the one with the greater generation counts. Each is a sequence of frames
 *   length u32 | crc32 u32 | generation u64 | body
 * (little-endian; the sum covers generation and body), of which the first one's body is a title, and ends before the
 * first frame that is not whole, or not of the generation of the first one. The files have their blocks from the start,
 * and are written over and never cut: adding a record to a full disk works. Everything is done on descriptors that are
 * open from the start, so it does not matter whom the thread acts for.
 *
 * Nothing is synced: the kernel has what write(2) took, also when this process is killed. After the machine lost its
 * power there may be less than was written, never anything else.
 */

const FRAME_BYTES = 16;
const CRC_AT = 4;
const GENERATION_AT = 8;
/** Written at a time by a rewrite. */
const REWRITE_BATCH_BYTES = 1024 * 1024;
const GENERATION_STEP_MAX = 2 ** 32;
const FILE_MODE = 0o600;

/** What a log held when it was opened. */
export interface StateLogContents {
  /** As the last rewrite gave it; undefined for a new log. */
  readonly title: Buffer | undefined;
  /** In the order in which they were written. */
  readonly records: readonly Buffer[];
}

interface LogFile {
  readonly fd: number;
  generation: bigint;
}

export class StateLog {
  readonly contents: StateLogContents;
  readonly #frame = Buffer.allocUnsafe(FRAME_BYTES + STATE_LOG_RECORD_BYTES_MAX);
  #current: LogFile;
  #other: LogFile;
  #capacityBytes = 0;
  #usedBytes = 0;
  #reservedBytes = 0;
  #isClosed = false;

  private constructor(files: readonly [LogFile, LogFile]) {
    const [first, second] = files.map((file) => ({ file, read: readFrames(file.fd) }));
    if (first === undefined || second === undefined) throw new Error('two files make a log');
    for (const { file, read } of [first, second]) file.generation = read.generation;
    const newer = second.read.generation > first.read.generation ? second : first;
    this.#current = newer.file;
    this.#other = newer === first ? second.file : first.file;
    const [title, ...records] = newer.read.bodies;
    this.contents = { title, records };
  }

  /**
   * Opens or makes a log. Nothing can be appended before its first rewrite, which also cuts off what was half written.
   *
   * @returns undefined while another process has it open
   * @throws Error of the file system
   */
  static open(stateDirectory: string, name: string): StateLog | undefined {
    becomeServer();
    const fds: number[] = [];
    const close = (): void => {
      for (const fd of fds) fs.closeSync(fd);
    };
    const open = (suffix: string): LogFile => {
      const file = path.join(stateDirectory, `${name}.${suffix}`);
      const fd = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_CREAT, FILE_MODE);
      fds.push(fd);
      return { fd, generation: 0n };
    };
    try {
      const first = open('0');
      if (tryLock(first.fd)) return new StateLog([first, open('1')]);
    } catch (error) {
      close();
      throw error;
    }
    close();
    return undefined;
  }

  /** Bytes that the records of this generation take, and those that they may take. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  get capacityBytes(): number {
    return this.#capacityBytes;
  }

  /** What a record of so many bytes takes. */
  static frameBytes(bodyBytes: number): number {
    return FRAME_BYTES + bodyBytes;
  }

  /**
   * Adds a record of at most STATE_LOG_RECORD_BYTES_MAX bytes, given in pieces.
   *
   * @returns false where the log has no room: it is to be written anew
   * @throws Error of the file system; the log is as it was then
   */
  append(...pieces: readonly Uint8Array[]): boolean {
    if (this.#isClosed) throw new Error('the log is closed');
    if (this.#usedBytes === 0) throw new Error('the log was not written yet');
    const frameBytes = fillFrame(this.#frame, this.#current.generation, pieces);
    if (this.#usedBytes + frameBytes > this.#capacityBytes) return false;
    writeAll(this.#current.fd, this.#frame.subarray(0, frameBytes), this.#usedBytes);
    this.#usedBytes += frameBytes;
    return true;
  }

  /**
   * Takes room for the next rewrite.
   *
   * @returns how much it will have: what it had before where the disk is too full for what was asked for
   * @throws Error of the file system
   */
  reserve(capacityBytes: number): number {
    if (this.#isClosed) throw new Error('the log is closed');
    this.#reservedBytes = allocateUpTo(this.#other.fd, capacityBytes);
    return this.#reservedBytes;
  }

  /**
   * Starts anew, in the room that was reserved, with these records and no others. Whoever is killed meanwhile leaves what
   * was before.
   *
   * @throws Error of the file system, and where the records do not fit; the log is as it was then
   */
  rewrite(title: Uint8Array, records: Iterable<readonly Uint8Array[]>): void {
    if (this.#isClosed) throw new Error('the log is closed');
    const { fd } = this.#other;
    // Not the next number: a rewrite that was killed may have left frames of that.
    const generation = this.#current.generation + 1n + BigInt(randomInt(GENERATION_STEP_MAX));
    const titleBytes = FRAME_BYTES + title.length;
    let usedBytes = titleBytes;
    let batch: Buffer[] = [];
    let batchBytes = 0;
    const flush = (): void => {
      writeAll(fd, Buffer.concat(batch, batchBytes), usedBytes);
      usedBytes += batchBytes;
      batch = [];
      batchBytes = 0;
    };
    for (const pieces of records) {
      const frame = Buffer.allocUnsafe(FRAME_BYTES + totalBytes(pieces));
      batchBytes += fillFrame(frame, generation, pieces);
      batch.push(frame);
      if (usedBytes + batchBytes > this.#reservedBytes)
        throw new ErrnoError('ENOSPC', 'write', 'no room for the log');
      if (batchBytes >= REWRITE_BATCH_BYTES) flush();
    }
    flush();
    // The title is what makes it count, so it comes last.
    fillFrame(this.#frame, generation, [title]);
    writeAll(fd, this.#frame.subarray(0, titleBytes), 0);
    this.#other = this.#current;
    this.#current = { fd, generation };
    this.#capacityBytes = this.#reservedBytes;
    this.#usedBytes = usedBytes;
    this.#reservedBytes = 0;
  }

  /** Lets another process have it. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    fs.closeSync(this.#current.fd);
    fs.closeSync(this.#other.fd);
  }
}

function totalBytes(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

/** Writes one frame at the start of `frame`; returns its length. */
function fillFrame(frame: Buffer, generation: bigint, pieces: readonly Uint8Array[]): number {
  const bodyBytes = totalBytes(pieces);
  if (bodyBytes === 0 || bodyBytes > STATE_LOG_RECORD_BYTES_MAX) {
    throw new RangeError(`a record has 1 to ${STATE_LOG_RECORD_BYTES_MAX} bytes, not ${bodyBytes}`);
  }
  let at = FRAME_BYTES;
  for (const piece of pieces) {
    frame.set(piece, at);
    at += piece.length;
  }
  frame.writeUInt32LE(bodyBytes, 0);
  frame.writeBigUInt64LE(generation, GENERATION_AT);
  frame.writeUInt32LE(crc32(frame.subarray(GENERATION_AT, at)), CRC_AT);
  return at;
}

/** The whole frames from the beginning on. Everything may stand in a file that a crash left behind. */
function readFrames(fd: number): { generation: bigint; bodies: Buffer[] } {
  const bytes = fs.readFileSync(fd);
  const bodies: Buffer[] = [];
  let generation = 0n;
  for (let at = 0; at + FRAME_BYTES < bytes.length;) {
    const bodyBytes = bytes.readUInt32LE(at);
    const end = at + FRAME_BYTES + bodyBytes;
    if (bodyBytes === 0 || bodyBytes > STATE_LOG_RECORD_BYTES_MAX || end > bytes.length) break;
    if (crc32(bytes.subarray(at + GENERATION_AT, end)) !== bytes.readUInt32LE(at + CRC_AT)) break;
    const own = bytes.readBigUInt64LE(at + GENERATION_AT);
    // What was written before, and not been written over yet.
    if (bodies.length > 0 && own !== generation) break;
    generation = own;
    bodies.push(bytes.subarray(at + FRAME_BYTES, end));
    at = end;
  }
  return { generation, bodies };
}

/** @returns how large the file is now: what it was before where the disk has no more to give */
function allocateUpTo(fd: number, lengthBytes: number): number {
  try {
    allocate(fd, lengthBytes);
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    if (error.code === 'EOPNOTSUPP') fs.ftruncateSync(fd, lengthBytes);
    else if (error.code === 'ENOSPC' || error.code === 'EDQUOT') return fs.fstatSync(fd).size;
    else throw error;
  }
  const { size } = fs.fstatSync(fd);
  if (size > lengthBytes) fs.ftruncateSync(fd, lengthBytes);
  return lengthBytes;
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length;) {
    done += fs.writeSync(fd, bytes, done, bytes.length - done, position + done);
  }
}

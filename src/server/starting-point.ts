/**
 * What a call that must take effect once starts from. It is kept before the change, so that the same call, sent again
 * after the server died under it, can look whether it had taken effect.
 */
import { FILE_TIME_TICK_NS } from '../store/limits.ts';
import type { NamedFile } from '../store/name-operations.ts';
import type { Store } from '../store/store.ts';
import type { ServerContext } from './client-session.ts';

export interface StartingPoint {
  /** When it began, in nanoseconds since 1970. */
  readonly beganNs: bigint;
  /** The call was to be refused then, for a reason that the change itself would take away. */
  readonly isRefused: boolean;
  /** Of the file whose attributes are changed, in bytes. */
  readonly size: bigint;
  /** Handle of what had the name that is changed; RENAME: the old name. */
  readonly file: Uint8Array | undefined;
  /** RENAME: handle of what had the new name. */
  readonly target: Uint8Array | undefined;
}

const VERSION = 1;
const REFUSED = 0x01;
/** version u8 | flags u8 | began u64 | size u64, then for each handle: length u8 (0: none) | bytes */
const HEADER_BYTES = 18;

export function encodeStartingPoint({ beganNs, isRefused, size, file, target }: StartingPoint): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(VERSION, 0);
  header.writeUInt8(isRefused ? REFUSED : 0, 1);
  header.writeBigUInt64BE(beganNs, 2);
  header.writeBigUInt64BE(size, 10);
  const pieces: Uint8Array[] = [header];
  for (const handle of [file, target]) pieces.push(Buffer.of(handle?.length ?? 0), handle ?? Buffer.alloc(0));
  return Buffer.concat(pieces);
}

/** Throws for bytes that encodeStartingPoint did not make: then nobody knows what happened, and nothing may be done. */
export function decodeStartingPoint(bytes: Uint8Array): StartingPoint {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (buffer.length < HEADER_BYTES || buffer[0] !== VERSION) throw new Error('not a starting point');
  let at = HEADER_BYTES;
  const handle = (): Uint8Array | undefined => {
    const end = at + 1 + buffer.readUInt8(at);
    if (end > buffer.length) throw new Error('a starting point is cut short');
    const found = buffer.subarray(at + 1, end);
    at = end;
    return found.length === 0 ? undefined : Uint8Array.from(found);
  };
  const file = handle();
  const target = handle();
  if (at !== buffer.length) throw new Error('a starting point is too long');
  return {
    beganNs: buffer.readBigUInt64BE(2),
    isRefused: (buffer.readUInt8(1) & REFUSED) !== 0,
    size: buffer.readBigUInt64BE(10),
    file,
    target,
  };
}

/**
 * To be called just before the change, in its turn, whether it will succeed or not.
 *
 * @returns where an earlier execution of this call started, which the server's death cut short; undefined for the first
 */
export function begin(
  { intent }: ServerContext,
  point: Partial<Omit<StartingPoint, 'beganNs'>>,
): StartingPoint | undefined {
  if (intent === undefined) return undefined;
  const beganNs = BigInt(Date.now()) * 1_000_000n;
  const complete = { beganNs, isRefused: false, size: 0n, file: undefined, target: undefined, ...point };
  const earlier = intent.begin(encodeStartingPoint(complete));
  return earlier === undefined ? undefined : decodeStartingPoint(earlier);
}

export function isSameFile(handle: Uint8Array | undefined, found: NamedFile | undefined): boolean {
  return handle !== undefined && found?.handle.equals(handle) === true;
}

/**
 * Whether a file is the one that an earlier execution made under this name, where nothing had been before: it was made
 * after that began, and before this server started. What others made since then is younger: two clients that make
 * the same directory as a lock must not both be told that it is theirs.
 */
export function wasMadeBy(earlier: StartingPoint | undefined, found: NamedFile, store: Store): boolean {
  if (earlier === undefined || earlier.file !== undefined) return false;
  const { btimeNs, ctimeNs } = found.status;
  const bornNs = btimeNs === 0n ? ctimeNs : btimeNs;
  return bornNs >= earlier.beganNs - FILE_TIME_TICK_NS && bornNs < store.openedNs - FILE_TIME_TICK_NS;
}

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { FILE_HANDLE_BYTES_MAX } from './limits.ts';
import { StoreError } from './store-error.ts';

/*
 * A file handle, opaque to clients, at most 64 bytes:
 *   version u8 | type u8 | export id 8 bytes | body | MAC 16 bytes
 * The type is the kernel's handle type, and the body the kernel's handle; or TABLE_HANDLE_TYPE, and the body an id
 * of the handle table. The MAC (HMAC-SHA256, cut) covers all before it: only handles issued here open.
 */

const VERSION = 1;
export const EXPORT_ID_BYTES = 8;
const HEADER_BYTES = 2 + EXPORT_ID_BYTES;
const MAC_BYTES = 16;
const KEY_BYTES = 32;

/** FILEID_INVALID of include/linux/exportfs.h, which no file system uses. */
export const TABLE_HANDLE_TYPE = 0xff;
/** What is left for the body: 38 bytes. */
export const HANDLE_BODY_BYTES_MAX = FILE_HANDLE_BYTES_MAX - HEADER_BYTES - MAC_BYTES;

export interface HandleParts {
  /** 1 to 254 of the kernel's, or TABLE_HANDLE_TYPE. */
  type: number;
  exportId: Uint8Array;
  body: Buffer;
}

/** Whether a kernel's handle can be carried as it is. */
export function fitsFileHandle(handle: { type: number; bytes: Uint8Array }): boolean {
  return (
    handle.type > 0 &&
    handle.type < TABLE_HANDLE_TYPE &&
    handle.bytes.length > 0 &&
    handle.bytes.length <= HANDLE_BODY_BYTES_MAX
  );
}

export function sealFileHandle(key: Uint8Array, parts: HandleParts): Buffer {
  const macStart = HEADER_BYTES + parts.body.length;
  const handle = Buffer.alloc(macStart + MAC_BYTES);
  handle[0] = VERSION;
  handle[1] = parts.type;
  handle.set(parts.exportId, 2);
  handle.set(parts.body, HEADER_BYTES);
  handle.set(macOf(key, handle.subarray(0, macStart)), macStart);
  return handle;
}

/** Throws StoreError BADHANDLE for every sequence of bytes that sealFileHandle did not make with this key. */
export function unsealFileHandle(key: Uint8Array, handle: Uint8Array): HandleParts {
  const bytes = Buffer.from(handle.buffer, handle.byteOffset, handle.length);
  const macStart = bytes.length - MAC_BYTES;
  if (bytes.length > FILE_HANDLE_BYTES_MAX || macStart <= HEADER_BYTES || bytes[0] !== VERSION) {
    throw new StoreError('BADHANDLE', 'not a handle of this server');
  }
  if (!timingSafeEqual(macOf(key, bytes.subarray(0, macStart)), bytes.subarray(macStart))) {
    throw new StoreError('BADHANDLE', 'the handle was not issued by this server');
  }
  return {
    type: bytes.readUInt8(1),
    exportId: bytes.subarray(2, HEADER_BYTES),
    body: bytes.subarray(HEADER_BYTES, macStart),
  };
}

/** Which file of its file system a handle is of, whichever export it was issued for; the handle was unsealed before. */
export function fileOfHandle(handle: Uint8Array): string {
  const bytes = Buffer.from(handle.buffer, handle.byteOffset, handle.length);
  return bytes.toString('latin1', 1, 2) + bytes.toString('latin1', HEADER_BYTES, bytes.length - MAC_BYTES);
}

/**
 * What a handle says of its file, without the MAC that proves it: as characters (latin1), a key of maps. The same for all
 * handles of a file in an export.
 */
export function fileKeyOf(handle: Buffer): string {
  return handle.toString('latin1', 1, handle.length - MAC_BYTES);
}

const keyScratch = Buffer.alloc(HEADER_BYTES - 1 + HANDLE_BODY_BYTES_MAX);

/** The key of a file by the kernel's handle of it, which must fit (fitsFileHandle). */
export function fileKeyOfParts(type: number, exportId: Uint8Array, body: Uint8Array): string {
  keyScratch[0] = type;
  keyScratch.set(exportId, 1);
  keyScratch.set(body, HEADER_BYTES - 1);
  return keyScratch.toString('latin1', 0, HEADER_BYTES - 1 + body.length);
}

/** The handle of a file by its key. */
export function sealFileKey(key: Uint8Array, fileKey: string): Buffer {
  const bytes = Buffer.from(fileKey, 'latin1');
  return sealFileHandle(key, {
    type: bytes.readUInt8(0),
    exportId: bytes.subarray(1, HEADER_BYTES - 1),
    body: bytes.subarray(HEADER_BYTES - 1),
  });
}

function macOf(key: Uint8Array, bytes: Uint8Array): Buffer {
  return createHmac('sha256', key).update(bytes).digest().subarray(0, MAC_BYTES);
}

/**
 * The key of a state directory (`handle-key`, mode 0600), made with the first call. Whoever deletes it makes every
 * handle that clients hold bad.
 */
export function loadHandleKey(stateDirectory: string): Buffer {
  const file = path.join(stateDirectory, 'handle-key');
  if (!fs.existsSync(file)) createHandleKey(file);
  const key = fs.readFileSync(file);
  if (key.length !== KEY_BYTES) throw new Error(`${file} has ${key.length} bytes, not ${KEY_BYTES}`);
  return key;
}

function createHandleKey(file: string): void {
  const draft = `${file}.${randomBytes(8).toString('hex')}`;
  const fd = fs.openSync(draft, 'wx', 0o600);
  try {
    fs.writeFileSync(fd, randomBytes(KEY_BYTES));
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  try {
    // Unlike a rename, a link does not replace the key that another process made meanwhile.
    fs.linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    fs.unlinkSync(draft);
  }
}

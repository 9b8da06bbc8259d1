import { AT_EMPTY_PATH, O_CLOEXEC } from './constants.ts';
import { ErrnoError } from './errno.ts';
import { EMPTY_PATH, kernel, lastError } from './libc.ts';

/** A handle as the file system made it: opaque, good on this file system only, across restarts. */
export interface KernelHandle {
  /** Signed 32 bits. */
  type: number;
  bytes: Buffer;
}

/** MAX_HANDLE_SZ of include/linux/exportfs.h. */
export const KERNEL_HANDLE_BYTES_MAX = 128;

// struct file_handle: handle_bytes u32, handle_type i32, the bytes.
const HEADER_BYTES = 8;
const handleScratch = Buffer.alloc(HEADER_BYTES + KERNEL_HANDLE_BYTES_MAX);
const mountId = Buffer.alloc(4);

/** name_to_handle_at(2) of an open descriptor, O_PATH too. EOPNOTSUPP: this file system has no handles. */
export function nameToHandleAt(fd: number): KernelHandle {
  handleScratch.writeUInt32LE(KERNEL_HANDLE_BYTES_MAX, 0);
  if (kernel.nameToHandleAt(fd, EMPTY_PATH, handleScratch, mountId, AT_EMPTY_PATH) < 0) {
    throw lastError('name_to_handle_at');
  }
  const length = handleScratch.readUInt32LE(0);
  return {
    type: handleScratch.readInt32LE(4),
    bytes: Buffer.from(handleScratch.subarray(HEADER_BYTES, HEADER_BYTES + length)),
  };
}

/**
 * open_by_handle_at(2): opens whatever the handle names on the file system of `mountFd` (any descriptor on it that is
 * not O_PATH); the caller closes the result. ESTALE: the file is gone or the handle was never good;
 * EPERM: needs CAP_DAC_READ_SEARCH, which a thread under a foreign identity lacks (see identity.ts).
 */
export function openByHandleAt(
  mountFd: number,
  handle: { type: number; bytes: Uint8Array },
  flags: number,
): number {
  if (handle.bytes.length > KERNEL_HANDLE_BYTES_MAX) throw new ErrnoError('EINVAL', 'open_by_handle_at');
  handleScratch.writeUInt32LE(handle.bytes.length, 0);
  handleScratch.writeInt32LE(handle.type, 4);
  handleScratch.set(handle.bytes, HEADER_BYTES);
  const fd = kernel.openByHandleAt(mountFd, handleScratch, flags | O_CLOEXEC);
  if (fd < 0) throw lastError('open_by_handle_at');
  return fd;
}

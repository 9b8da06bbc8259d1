/** fanotify(7): what happens to the files of whole file systems, told by their handles. */
import { closeFd } from './files.ts';
import { ERRNO, ErrnoError } from './errno.ts';
import type { KernelHandle } from './handles.ts';
import { kernel, lastErrno, lastError, libc } from './libc.ts';

// include/uapi/linux/fanotify.h
export const FAN_MODIFY = 0x2;
export const FAN_ATTRIB = 0x4;
export const FAN_CLOSE_WRITE = 0x8;
export const FAN_MOVED_FROM = 0x40;
export const FAN_MOVED_TO = 0x80;
export const FAN_CREATE = 0x100;
export const FAN_DELETE = 0x200;
export const FAN_Q_OVERFLOW = 0x4000;
export const FAN_ONDIR = 0x4000_0000;

const FAN_CLOEXEC = 0x1;
const FAN_NONBLOCK = 0x2;
const FAN_CLASS_NOTIF = 0;
const FAN_REPORT_FID = 0x200;
const FAN_REPORT_DIR_FID = 0x400;
const FAN_REPORT_NAME = 0x800;
/** Linux 5.17: also which file a name belongs to. */
const FAN_REPORT_TARGET_FID = 0x1000;

const FAN_MARK_ADD = 0x1;
const FAN_MARK_REMOVE = 0x2;
const FAN_MARK_FILESYSTEM = 0x100;

const FANOTIFY_METADATA_VERSION = 3;
const FAN_EVENT_INFO_TYPE_FID = 1;
const FAN_EVENT_INFO_TYPE_DFID_NAME = 2;
const FAN_EVENT_INFO_TYPE_DFID = 3;

/** A file of any file system. */
export interface FileId {
  /** f_fsid of statfs(2), as a number. */
  readonly fsid: bigint;
  readonly handle: KernelHandle;
}

/** What happened, one or several things that the kernel has merged. */
export interface FanotifyEvent {
  /** FAN_* bits. */
  readonly mask: number;
  /** The process that did it, as this one sees it; 0 where it cannot. Events of several processes are not merged. */
  readonly pid: number;
  /** The file it happened to; for a change of a name the file of that name, where the kernel tells (Linux 5.17). */
  readonly object: FileId | undefined;
  /** The directory of the name that was changed, or by which the file was reached. */
  readonly directory: FileId | undefined;
  /** `.` where it happened to the directory itself. */
  readonly name: Buffer | undefined;
}

/** The bytes of an event are not what fanotify(7) describes. */
export class FanotifyFormatError extends Error {
  override readonly name = 'FanotifyFormatError';
}

// struct fanotify_event_metadata: event_len u32, vers u8, reserved u8, metadata_len u16, mask u64, fd i32, pid i32.
const METADATA_BYTES = 24;
// struct fanotify_event_info_header: info_type u8, pad u8, len u16.
const INFO_HEADER_BYTES = 4;
// Behind it fsid, two i32, and struct file_handle: handle_bytes u32, handle_type i32, the bytes.
const FSID_BYTES = 8;
const HANDLE_HEADER_BYTES = 8;

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new FanotifyFormatError(what);
}

/**
 * The events of one read(2). Handles and names lie in `bytes`: they are good as long as it is not written to.
 *
 * @throws FanotifyFormatError
 */
export function parseFanotifyEvents(bytes: Buffer): FanotifyEvent[] {
  const events: FanotifyEvent[] = [];
  for (let at = 0; at < bytes.length;) {
    check(bytes.length - at >= METADATA_BYTES, 'an event is cut off');
    const length = bytes.readUInt32LE(at);
    check(length >= METADATA_BYTES && length <= bytes.length - at, `an event of ${length} bytes`);
    events.push(parseEvent(bytes.subarray(at, at + length)));
    at += length;
  }
  return events;
}

function parseEvent(event: Buffer): FanotifyEvent {
  const version = event.readUInt8(4);
  check(version === FANOTIFY_METADATA_VERSION, `an event of version ${version}`);
  const metadataBytes = event.readUInt16LE(6);
  check(
    metadataBytes >= METADATA_BYTES && metadataBytes <= event.length,
    `metadata of ${metadataBytes} bytes`,
  );
  const mask = event.readUInt32LE(8);
  const pid = event.readInt32LE(20);
  let object: FileId | undefined;
  let directory: FileId | undefined;
  let name: Buffer | undefined;
  for (let at = metadataBytes; at < event.length;) {
    check(event.length - at >= INFO_HEADER_BYTES, 'a record is cut off');
    const type = event.readUInt8(at);
    const length = event.readUInt16LE(at + 2);
    check(length >= INFO_HEADER_BYTES && length <= event.length - at, `a record of ${length} bytes`);
    const record = event.subarray(at + INFO_HEADER_BYTES, at + length);
    at += length;
    // Kinds that are not known are left out, as the manual page demands.
    if (type === FAN_EVENT_INFO_TYPE_FID) {
      object = parseFileId(record).id;
    } else if (type === FAN_EVENT_INFO_TYPE_DFID) {
      directory = parseFileId(record).id;
    } else if (type === FAN_EVENT_INFO_TYPE_DFID_NAME) {
      const { id, rest } = parseFileId(record);
      const end = rest.indexOf(0);
      check(end > 0, 'a name without an end');
      directory = id;
      name = rest.subarray(0, end);
    }
  }
  return { mask, pid, object, directory, name };
}

/** `id` is undefined where the kernel could make no handle: FILEID_INVALID, without bytes. */
function parseFileId(record: Buffer): { readonly id: FileId | undefined; readonly rest: Buffer } {
  check(record.length >= FSID_BYTES + HANDLE_HEADER_BYTES, 'a handle is cut off');
  const handleBytes = record.readUInt32LE(FSID_BYTES);
  const type = record.readInt32LE(FSID_BYTES + 4);
  const start = FSID_BYTES + HANDLE_HEADER_BYTES;
  check(handleBytes <= record.length - start, `a handle of ${handleBytes} bytes`);
  const bytes = record.subarray(start, start + handleBytes);
  const id = handleBytes === 0 ? undefined : { fsid: record.readBigUInt64LE(0), handle: { type, bytes } };
  return { id, rest: record.subarray(start + handleBytes) };
}

/** Bytes taken by one read: several hundred events. */
const READ_BYTES = 64 * 1024;

/** A queue of events, bounded by fs.fanotify.max_queued_events: what does not fit is told as FAN_Q_OVERFLOW. */
export class Fanotify {
  /** To be watched for readability. */
  readonly fd: number;
  readonly #room = Buffer.allocUnsafeSlow(READ_BYTES);

  /** @throws ErrnoError: EPERM without CAP_SYS_ADMIN, EMFILE, ENOSYS, EINVAL before Linux 5.9 */
  constructor() {
    const flags =
      FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_FID | FAN_REPORT_DIR_FID | FAN_REPORT_NAME;
    let fd = kernel.fanotifyInit(flags | FAN_REPORT_TARGET_FID, 0);
    if (fd < 0 && lastErrno() === ERRNO.EINVAL) fd = kernel.fanotifyInit(flags, 0);
    if (fd < 0) throw lastError('fanotify_init');
    this.fd = fd;
  }

  /**
   * Tells of all files of the file system that `dirFd` is on, in and outside of it.
   *
   * @throws ErrnoError: EOPNOTSUPP, ENODEV and EXDEV where its files cannot be told by handles, EPERM
   */
  mark(dirFd: number, mask: number): void {
    if (kernel.fanotifyMark(this.fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, mask, dirFd) < 0) {
      throw lastError('fanotify_mark');
    }
  }

  /** Tells no more of it. */
  unmark(dirFd: number, mask: number): void {
    if (kernel.fanotifyMark(this.fd, FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM, mask, dirFd) < 0) {
      throw lastError('fanotify_mark');
    }
  }

  /** Some of the events that wait, none when it was drained. They are good until the next call. */
  read(): FanotifyEvent[] {
    const length = libc.read(this.fd, this.#room, this.#room.length);
    if (length >= 0) return parseFanotifyEvents(this.#room.subarray(0, length));
    const errno = lastErrno();
    if (errno === ERRNO.EAGAIN || errno === ERRNO.EINTR) return [];
    throw new ErrnoError(errno, 'read', 'fanotify');
  }

  close(): void {
    closeFd(this.fd);
  }
}

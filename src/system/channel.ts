import { chmodSync } from 'node:fs';
import type { Socket } from 'node:net';
import { ERRNO, ErrnoError } from './errno.ts';
import { closeFd } from './files.ts';
import { addressOf, lastErrno, lastError, libc } from './libc.ts';

/*
 * Unix SOCK_SEQPACKET sockets that carry descriptors (unix(7), cmsg(3)): packets keep their borders and their order.
 * All descriptors here are non-blocking, closed on exec, and closed by the caller.
 */

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const SO_PEERCRED = 17;
const SO_PEERGROUPS = 59;
const MSG_CTRUNC = 0x8;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** What fits into sun_path besides its final NUL. */
export const SOCKET_PATH_BYTES_MAX = 107;
/** SCM_MAX_FD: what the kernel lets one packet carry. */
export const PACKET_DESCRIPTORS_MAX = 253;

const LISTEN_BACKLOG = 128;

/**
 * Listens at `path` with the permissions `mode`. EADDRINUSE: something is at the path already, dead or alive (the
 * caller decides about unlinking it); ENAMETOOLONG: more than 107 bytes.
 */
export function listenChannel(path: string, mode: number): number {
  const address = socketAddress(path, 'bind');
  return withSocket((fd) => {
    if (libc.bind(fd, address, address.length) < 0) throw lastError('bind', path);
    // Nobody can connect before listen, so no time is left in which the umask's mode counts.
    chmodSync(path, mode);
    if (libc.listen(fd, LISTEN_BACKLOG) < 0) throw lastError('listen', path);
  });
}

/** A waiting connection, or undefined when there is none. */
export function acceptChannel(fd: number): number | undefined {
  const accepted = libc.accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (accepted >= 0) return accepted;
  const errno = lastErrno();
  if (errno === ERRNO.EAGAIN || errno === ERRNO.ECONNABORTED || errno === ERRNO.EINTR) return undefined;
  throw new ErrnoError(errno, 'accept4');
}

/** Connects to a listening channel, without waiting: EAGAIN when its backlog is full. */
export function connectChannel(path: string): number {
  const address = socketAddress(path, 'connect');
  return withSocket((fd) => {
    if (libc.connect(fd, address, address.length) < 0) throw lastError('connect', path);
  });
}

/** Two connected ends, closed on exec and not blocking; for a child process one is passed by number. */
export function channelPair(): [number, number] {
  const ends = Buffer.alloc(8);
  if (libc.socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0) {
    throw lastError('socketpair');
  }
  return [ends.readInt32LE(0), ends.readInt32LE(4)];
}

function withSocket(prepare: (fd: number) => void): number {
  const fd = libc.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw lastError('socket');
  try {
    prepare(fd);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function socketAddress(path: string, syscall: string): Buffer {
  const length = Buffer.byteLength(path);
  if (length > SOCKET_PATH_BYTES_MAX) {
    throw new ErrnoError(
      'ENAMETOOLONG',
      syscall,
      `a socket path has at most ${SOCKET_PATH_BYTES_MAX} bytes, ${path} has ${length}`,
    );
  }
  if (length === 0 || path.includes('\0')) {
    throw new ErrnoError('EINVAL', syscall, 'a socket path is not empty and contains no NUL');
  }
  const address = Buffer.alloc(2 + length + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  address.write(path, 2);
  return address;
}

// struct msghdr of 64-bit Linux: name 0, namelen 8, iov 16, iovlen 24, control 32, controllen 40, flags 48.
const message = Buffer.alloc(56);
const MESSAGE_CONTROL = 32;
const MESSAGE_CONTROL_LENGTH = 40;
const MESSAGE_FLAGS = 48;
const vector = Buffer.alloc(16);
message.writeBigUInt64LE(addressOf(vector), 16);
message.writeBigUInt64LE(1n, 24);

// struct cmsghdr: length u64 (header included), level i32, type i32, then the data, padded to 8 bytes.
const CMSG_HEADER_BYTES = 16;
const control = Buffer.alloc(CMSG_HEADER_BYTES + align8(4 * PACKET_DESCRIPTORS_MAX));
const controlAddress = addressOf(control);

function align8(length: number): number {
  return (length + 7) & ~7;
}

function prepareMessage(bytes: Uint8Array, controlLength: number): void {
  vector.writeBigUInt64LE(addressOf(bytes), 0);
  vector.writeBigUInt64LE(BigInt(bytes.length), 8);
  message.writeBigUInt64LE(controlLength === 0 ? 0n : controlAddress, MESSAGE_CONTROL);
  message.writeBigUInt64LE(BigInt(controlLength), MESSAGE_CONTROL_LENGTH);
  message.writeInt32LE(0, MESSAGE_FLAGS);
}

/**
 * Sends one packet of at least one byte with copies of `fds` (at most 253), which stay open here. `full`: nothing was
 * sent, the peer has to read first; `closed`: there is no peer any more. EMSGSIZE: larger than the socket's buffer.
 */
export function sendPacket(
  fd: number,
  bytes: Uint8Array,
  fds: readonly number[] = [],
): 'sent' | 'full' | 'closed' {
  if (bytes.length === 0) throw new ErrnoError('EINVAL', 'sendmsg', 'an empty packet looks like the end');
  if (fds.length > PACKET_DESCRIPTORS_MAX) {
    throw new ErrnoError('EINVAL', 'sendmsg', `at most ${PACKET_DESCRIPTORS_MAX} descriptors a packet`);
  }
  const dataLength = CMSG_HEADER_BYTES + 4 * fds.length;
  control.writeBigUInt64LE(BigInt(dataLength), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  fds.forEach((descriptor, index) => control.writeInt32LE(descriptor, CMSG_HEADER_BYTES + 4 * index));
  prepareMessage(bytes, fds.length === 0 ? 0 : align8(dataLength));
  if (libc.sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 'sent';
  const errno = lastErrno();
  switch (errno) {
    case ERRNO.EAGAIN:
    case ERRNO.ENOBUFS:
    case ERRNO.ETOOMANYREFS: // An unprivileged user has as many descriptors on their way as RLIMIT_NOFILE allows.
    case ERRNO.EINTR:
      return 'full';
    case ERRNO.EPIPE:
    case ERRNO.ECONNRESET:
    case ERRNO.ENOTCONN:
    case ERRNO.ECONNREFUSED:
      return 'closed';
    default:
      throw new ErrnoError(errno, 'sendmsg');
  }
}

export interface Packet {
  bytes: Buffer;
  /** Now the receiver's to close. */
  fds: number[];
}

/**
 * Takes one packet of at most `maxBytes`. Throws EMFILE when descriptors were lost (the table of this process is
 * full) and EMSGSIZE when bytes were; what had come of the packet is closed then.
 */
export function receivePacket(fd: number, maxBytes: number): Packet | 'empty' | 'closed' {
  const bytes = Buffer.allocUnsafe(maxBytes);
  prepareMessage(bytes, control.length);
  const length = libc.recvmsg(fd, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (length < 0) {
    const errno = lastErrno();
    if (errno === ERRNO.EAGAIN || errno === ERRNO.EINTR) return 'empty';
    if (errno === ERRNO.ECONNRESET || errno === ERRNO.ENOTCONN) return 'closed';
    throw new ErrnoError(errno, 'recvmsg');
  }
  const fds = receivedDescriptors();
  const flags = message.readInt32LE(MESSAGE_FLAGS);
  if ((flags & (MSG_CTRUNC | MSG_TRUNC)) !== 0) {
    fds.forEach(closeFd);
    throw (flags & MSG_CTRUNC) !== 0
      ? new ErrnoError('EMFILE', 'recvmsg', 'descriptors of a packet were lost')
      : new ErrnoError('EMSGSIZE', 'recvmsg', `a packet was larger than ${maxBytes} bytes`);
  }
  if (length === 0) {
    // A hostile peer can send descriptors with an empty packet.
    fds.forEach(closeFd);
    return 'closed';
  }
  return { bytes: bytes.subarray(0, length), fds };
}

function receivedDescriptors(): number[] {
  const fds: number[] = [];
  const end = Number(message.readBigUInt64LE(MESSAGE_CONTROL_LENGTH));
  for (let at = 0; at + CMSG_HEADER_BYTES <= end;) {
    const length = Number(control.readBigUInt64LE(at));
    if (length < CMSG_HEADER_BYTES) break;
    if (control.readInt32LE(at + 8) === SOL_SOCKET && control.readInt32LE(at + 12) === SCM_RIGHTS) {
      const dataEnd = Math.min(at + length, end);
      for (let data = at + CMSG_HEADER_BYTES; data + 4 <= dataEnd; data += 4) {
        fds.push(control.readInt32LE(data));
      }
    }
    at += align8(length);
  }
  return fds;
}

export interface PeerCredentials {
  pid: number;
  uid: number;
  gid: number;
}

const optionLength = Buffer.alloc(4);

/** SO_PEERCRED: who connected (or listened), with its effective ids at that moment, seen from our user namespace. */
export function peerCredentials(fd: number): PeerCredentials {
  const credentials = Buffer.alloc(12);
  optionLength.writeUInt32LE(credentials.length);
  if (libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, optionLength) < 0) {
    throw lastError('getsockopt', 'SO_PEERCRED');
  }
  return {
    pid: credentials.readInt32LE(0),
    uid: credentials.readUInt32LE(4),
    gid: credentials.readUInt32LE(8),
  };
}

const PEER_GROUPS_FIRST_TRY = 64;

/** SO_PEERGROUPS: the peer's supplementary groups when it connected. */
export function peerGroups(fd: number): number[] {
  let groups = new Uint32Array(PEER_GROUPS_FIRST_TRY);
  for (;;) {
    optionLength.writeUInt32LE(groups.byteLength);
    const bytes = new Uint8Array(groups.buffer);
    if (libc.getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, bytes, optionLength) === 0) {
      return Array.from(groups.subarray(0, optionLength.readUInt32LE() / 4));
    }
    const errno = lastErrno();
    // ERANGE comes with the length that is wanted; it cannot repeat, as credentials of a peer never change.
    const neededBytes = optionLength.readUInt32LE();
    if (errno !== ERRNO.ERANGE || neededBytes <= groups.byteLength) {
      throw new ErrnoError(errno, 'getsockopt', 'SO_PEERGROUPS');
    }
    groups = new Uint32Array(neededBytes / 4);
  }
}

/**
 * The descriptor of a connected socket of Node's, for peerCredentials and peerGroups; it stays Node's. EBADF when the
 * socket is not connected any more. Node offers no public way to it.
 */
export function socketDescriptor(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null };
  const fd = handle?.fd;
  if (fd === undefined || fd < 0) throw new ErrnoError('EBADF', 'socketDescriptor');
  return fd;
}

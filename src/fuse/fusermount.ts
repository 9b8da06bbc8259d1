/**
 * Mounts of users who may not call mount(2): the set-user-id program fusermount3 (of the package fuse3; fusermount of
 * fuse 2 speaks the same) mounts for them and hands back the descriptor of /dev/fuse. See fusermount3(1) and libfuse's
 * lib/mount.c: _FUSE_COMMFD names the socket over which the descriptor comes.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { channelPair, receivePacket } from '../system/channel.ts';
import { closeFd } from '../system/files.ts';
import { adoptFuseDevice } from '../system/fuse-device.ts';

const PROGRAMS = ['fusermount3', 'fusermount'] as const;
/** Where fusermount3 reads what users are allowed. */
const FUSE_CONF = '/etc/fuse.conf';
/** The number that the socket has in the program: the first after the standard three. */
const COMM_FD = 3;
/** The packet is one byte that means nothing. */
const PACKET_BYTES_MAX = 64;

/** fusermount3 is missing or refused; the message is one line for people. */
export class FusermountError extends Error {
  override readonly name = 'FusermountError';
}

/** The path of the program, or undefined when it is not installed. */
export function findFusermount(searchPath = process.env.PATH ?? ''): string | undefined {
  // Sometimes not on the path of users' services.
  const directories = [...searchPath.split(delimiter).filter((each) => each !== ''), '/usr/bin', '/bin'];
  return PROGRAMS.flatMap((program) => directories.map((directory) => join(directory, program))).find(
    (path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    },
  );
}

/** Whether users may let others see their mounts: `user_allow_other` in fuse.conf, alone on its line. */
export function mayAllowOther(configuration = readConfiguration()): boolean {
  return /^[ \t]*user_allow_other[ \t]*$/m.test(configuration);
}

function readConfiguration(): string {
  try {
    return readFileSync(FUSE_CONF, 'utf8');
  } catch {
    return '';
  }
}

/**
 * Mounts at `mountPoint` and returns the device's descriptor, non-blocking, now the caller's to close.
 *
 * @param options as after -o, values escaped with escapeOption
 * @throws FusermountError with what the program said
 */
export async function fusermount(mountPoint: string, options: readonly string[]): Promise<number> {
  const [ours, theirs] = channelPair();
  try {
    await run(['-o', options.join(','), '--', mountPoint], theirs);
    const packet = receivePacket(ours, PACKET_BYTES_MAX);
    const fds = typeof packet === 'string' ? [] : packet.fds;
    const [fd, ...extra] = fds;
    extra.forEach(closeFd);
    if (fd === undefined) throw new FusermountError('fusermount3 mounted and sent no descriptor');
    adoptFuseDevice(fd);
    return fd;
  } finally {
    closeFd(ours);
    closeFd(theirs);
  }
}

/**
 * Takes a mount of this user's out of the tree; a lazy one at once, as umount -l does.
 *
 * @returns whether it is out; false when it is busy, which a lazy one never is
 * @throws FusermountError with what the program said
 */
export async function fusermountUnmount(mountPoint: string, isLazy: boolean): Promise<boolean> {
  try {
    await run([isLazy ? '-uz' : '-u', '--', mountPoint]);
    return true;
  } catch (error) {
    if (!isLazy && error instanceof FusermountError && /busy/i.test(error.message)) return false;
    throw error;
  }
}

/** A comma or backslash in a value, which would end it otherwise. */
export function escapeOption(value: string): string {
  return value.replace(/[\\,]/g, '\\$&');
}

async function run(args: readonly string[], commFd?: number): Promise<void> {
  const program = findFusermount();
  if (program === undefined) throw new FusermountError('fusermount3 is not installed, install fuse3');
  const child = spawn(program, args, {
    stdio: ['ignore', 'ignore', 'pipe', ...(commFd === undefined ? [] : [commFd])],
    // What it says is read, so in one language.
    env: { ...process.env, LC_ALL: 'C', ...(commFd === undefined ? {} : { _FUSE_COMMFD: String(COMM_FD) }) },
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', ({ code }: NodeJS.ErrnoException) => {
      reject(new FusermountError(`${program} cannot be run (${code})`));
    });
    child.once('close', resolve);
  });
  if (status === 0) return;
  const line = said.trim().split('\n').at(-1) ?? '';
  throw new FusermountError(line === '' ? `${program} failed (status ${status})` : line);
}

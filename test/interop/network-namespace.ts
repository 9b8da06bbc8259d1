/** A network namespace of a test's own, with a tap device for a guest that brings its own kernel. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Of TEST-NET-1 (RFC 5737): never anybody's. */
export const SERVER_ADDRESS = '192.0.2.1';
export const GUEST_ADDRESS = '192.0.2.2/24';
export const TAP_DEVICE = 'tap0';

/*
 * Offloads off: packets shall be on the tap device as they would be on a cable, with their checksums, for the guest
 * and for the capture. The namespace has no name, and goes with its last process: the script ends when its standard
 * input closes, on stop() and on the death of the test.
 */
const SCRIPT = `
set -e
ip link set lo up
ip tuntap add dev ${TAP_DEVICE} mode tap
ethtool -K ${TAP_DEVICE} tx off sg off tso off gso off gro off
ip addr add ${SERVER_ADDRESS}/24 dev ${TAP_DEVICE}
ip link set ${TAP_DEVICE} up
echo ready
exec cat
`;

export interface NetworkNamespace {
  /** Of a process in it: `nsenter --net=FILE`. */
  readonly file: string;
  readonly stop: () => Promise<void>;
}

/**
 * Makes the namespace with its loopback and tap device up.
 *
 * @throws Error with what the tools said, where this machine does not allow it
 */
export async function startNetworkNamespace(): Promise<NetworkNamespace> {
  const holder = spawn('unshare', ['--net', 'sh', '-c', SCRIPT], { stdio: 'pipe' });
  holder.stdin.on('error', () => undefined); // it may be gone before its input is closed
  let output = '';
  let complaint = '';
  holder.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  const ended = once(holder, 'close').then(
    () => undefined,
    (error: unknown) => {
      complaint += String(error);
    },
  );
  const ready = new Promise<true>((resolve) => {
    holder.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (output.includes('ready\n')) resolve(true);
    });
  });
  if ((await Promise.race([ready, ended])) === undefined) {
    throw new Error(`no network namespace with a tap device: ${complaint.trim().replaceAll('\n', '; ')}`);
  }
  const stop = async () => {
    holder.stdin.end();
    await ended;
  };
  return { file: `/proc/${holder.pid}/ns/net`, stop };
}

import { readFileSync } from 'node:fs';
import { kernel, lastError, libc } from './libc.ts';

/** include/uapi/linux/capability.h; the index is the number. */
const CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
] as const;

export type Capability = (typeof CAPABILITIES)[number];

/** Whether the calling thread has the capability in effect; under a foreign identity the CAP_DAC_* ones are not. */
export function hasCapability(capability: Capability): boolean {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/thread-self/status', 'latin1'))?.[1];
  if (line === undefined) throw new Error('/proc/thread-self/status has no CapEff line');
  return (BigInt(`0x${line}`) & capabilityBit(capability)) !== 0n;
}

/** The capability's bit in the sets of /proc/PID/status. */
export function capabilityBit(capability: Capability): bigint {
  return 1n << BigInt(CAPABILITIES.indexOf(capability));
}

const LINUX_CAPABILITY_VERSION_3 = 0x20080522;
const PR_CAPBSET_DROP = 24;

/** struct __user_cap_header_struct: version, and pid 0 for the calling thread. */
function capabilityHeader(): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(LINUX_CAPABILITY_VERSION_3, 0);
  return header;
}

/**
 * What capset(2) takes so that the thread has all that the calling one has now, but not these. To be kept reachable by
 * whoever hands it to a call on another thread.
 */
export function capabilitiesWithout(capabilities: readonly Capability[]): { header: Buffer; sets: Buffer } {
  // Two of struct __user_cap_data_struct: effective, permitted, inheritable, each u32, low halves first.
  const sets = Buffer.alloc(24);
  if (kernel.capget(capabilityHeader(), sets) < 0) throw lastError('capget');
  for (const capability of capabilities) {
    const index = CAPABILITIES.indexOf(capability);
    const half = 12 * (index >> 5);
    const bit = 1 << (index & 31);
    for (const at of [half, half + 4, half + 8]) sets.writeInt32LE(sets.readInt32LE(at) & ~bit, at);
  }
  return { header: capabilityHeader(), sets };
}

/**
 * Gives up a capability for good: for the calling thread, and for the processes it starts. Other threads keep
 * theirs: for those of libuv's pool see pool-capabilities.ts. Without CAP_SETPCAP, processes started later may get it
 * back.
 */
export function dropCapability(capability: Capability): void {
  const index = CAPABILITIES.indexOf(capability);
  if (hasCapability('CAP_SETPCAP') && libc.prctl(PR_CAPBSET_DROP, index, 0, 0, 0) < 0) {
    throw lastError('prctl', 'PR_CAPBSET_DROP');
  }
  const { header, sets } = capabilitiesWithout([capability]);
  if (kernel.capset(header, sets) < 0) throw lastError('capset');
}

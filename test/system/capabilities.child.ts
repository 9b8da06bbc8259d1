import { spawnSync } from 'node:child_process';
import { dropCapability, hasCapability } from '../../src/system/capabilities.ts';
import { canSwitchIdentity, runAs } from '../../src/system/identity.ts';

const before = hasCapability('CAP_MKNOD');
dropCapability('CAP_MKNOD');
const after = hasCapability('CAP_MKNOD');
const inShell = spawnSync('grep', ['CapEff', '/proc/self/status'], { encoding: 'latin1' }).stdout;
const child = ((BigInt(`0x${inShell.trim().split(/\s+/)[1] ?? ''}`) >> 27n) & 1n) === 1n;
dropCapability('CAP_CHECKPOINT_RESTORE');
const high = hasCapability('CAP_CHECKPOINT_RESTORE');
const others = hasCapability('CAP_SYS_ADMIN');
dropCapability('CAP_SETUID');
const codeOf = (uid: number): string => {
  try {
    return runAs({ uid, gid: 5, groups: [] }, () => 'done');
  } catch (error) {
    return (error as { code: string }).code;
  }
};
console.log(
  JSON.stringify({
    before,
    after,
    child,
    high,
    others,
    canSwitch: canSwitchIdentity(),
    self: codeOf(process.getuid?.() ?? 0),
    other: codeOf(65534),
  }),
);

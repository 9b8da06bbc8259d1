import { dropCapability, hasCapability } from '../system/capabilities.ts';
import { becomeServer } from '../system/identity.ts';
import { dropPoolCapabilities, poolThreads } from '../system/pool-capabilities.ts';

let givenUp: Promise<boolean> | undefined;

/**
 * Lets the kernel apply to what this process writes for others what it applies to them: CAP_SYS_RESOURCE ignores quotas,
 * and CAP_FSETID keeps set-user-id and set-group-id bits. The main thread loses the first only: it takes up the caller's
 * identity, and with it loses the second where the caller is not root. Done once a process; main threads of workers keep
 * theirs. False when some thread of the pool could not be reached.
 */
export function giveUpPrivilegesOfWriters(): Promise<boolean> {
  return (givenUp ??= giveUp());
}

async function giveUp(): Promise<boolean> {
  becomeServer();
  const has = (['CAP_SYS_RESOURCE', 'CAP_FSETID'] as const).filter((capability) => hasCapability(capability));
  if (has.length === 0) return true;
  if (has.includes('CAP_SYS_RESOURCE')) dropCapability('CAP_SYS_RESOURCE');
  return (await dropPoolCapabilities(['CAP_SYS_RESOURCE', 'CAP_FSETID'])) === poolThreads();
}

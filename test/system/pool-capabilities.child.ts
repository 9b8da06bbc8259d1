/** Takes capabilities from the pool of this process and says what its threads have, before and after. */
import { readFileSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { capabilityBit } from '../../src/system/capabilities.ts';
import { dropPoolCapabilities, poolThreads } from '../../src/system/pool-capabilities.ts';

function threadsWithout(): number {
  const lacks = (thread: string): boolean => {
    const status = readFileSync(`/proc/self/task/${thread}/status`, 'latin1');
    const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
    return (effective & capabilityBit('CAP_FSETID')) === 0n;
  };
  return readdirSync('/proc/self/task').filter(lacks).length;
}

// Other work of the pool may be under way.
const others = Array.from({ length: 50 }, () => readFile('/proc/self/status'));
const before = threadsWithout();
const dropped = await dropPoolCapabilities(['CAP_FSETID', 'CAP_SYS_RESOURCE']);
await Promise.all(others);
/** Asynchronous file calls run on the pool: this one tells of a thread of it. */
const seen = new Set<boolean>();
for (let call = 0; call < 200; call += 1) {
  const status = await readFile('/proc/thread-self/status', 'latin1');
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  seen.add((effective & capabilityBit('CAP_FSETID')) !== 0n);
}
const report = { threads: poolThreads(), dropped, before, after: threadsWithout(), poolHas: [...seen] };
process.stdout.write(JSON.stringify(report));

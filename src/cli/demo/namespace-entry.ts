/**
 * The program of a process the demo starts in namespaces of its own: `nearmount`, tied to the demo's life.
 *
 * Arguments: `loopback` (bring "lo" up first: a fresh network namespace has it down) or `plain`, then nearmount's own.
 * Standard input is the lifeline: when it ends without the byte that says farewell, the demo has died, and this
 * process with its mount goes too. (prctl's parent-death signal would be forgotten at the first change of identity.)
 */
import { setLoopbackUp } from '../../system/net.ts';

const [loopback] = process.argv.splice(2, 1);
if (loopback === 'loopback') setLoopbackUp();

let farewell = false;
process.stdin.on('data', () => {
  farewell = true;
});
process.stdin.on('close', () => {
  if (!farewell) process.kill(process.pid, 'SIGKILL');
});
process.stdin.unref();

await import('../main.ts');

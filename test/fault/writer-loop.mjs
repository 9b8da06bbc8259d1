/**
 * The loop of a writer: announces each step on stdout before it is done, and says so when it was acknowledged. Each line
 * is one JSON document: {begin}, {done: number}, {paused} or {failed, code}. On stdin come `pause`, `go` and `end`.
 * Lines go out by write(2) at once, so what was announced is read even if the writer then waits for ever.
 */
import { writeSync } from 'node:fs';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';

const STDOUT = 1;

export function say(message) {
  writeSync(STDOUT, `${JSON.stringify(message)}\n`);
}

/** libuv has no names for some of Linux's error numbers. */
function codeOf(error) {
  const known = Object.entries(constants.errno).find(([, number]) => number === -error.errno);
  return known?.[0] ?? error.code ?? String(error);
}

/** Does steps until it is told to end; the first error ends it with status 1. `next` chooses a step, `act` does it. */
export function runSteps({ next, act }) {
  let going = true;
  let count = 0;
  const step = () => {
    if (!going) return;
    const chosen = next();
    say({ begin: chosen });
    try {
      act(chosen);
    } catch (error) {
      say({ failed: chosen, code: codeOf(error), message: String(error.message) });
      process.exit(1);
    }
    count += 1;
    say({ done: count });
    // Between two steps the orders are read.
    globalThis.setImmediate(step);
  };
  const orders = {
    pause: () => {
      going = false;
      say({ paused: true });
    },
    go: () => {
      going = true;
      globalThis.setImmediate(step);
    },
    end: () => process.exit(0),
  };
  const input = createInterface({ input: process.stdin });
  input.on('line', (order) => orders[order]());
  // The end of whoever started it.
  input.on('close', () => process.exit(0));
  globalThis.setImmediate(step);
}

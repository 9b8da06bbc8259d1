/** On whose behalf the server acts in this turn. */
import type { ClientSession } from './client-session.ts';

let current: ClientSession | undefined;

/** Runs `body`, all of it within this turn, on behalf of a session: what it looks at and changes is that one's doing. */
export function asking<T>(session: ClientSession, body: () => T): T {
  const before = current;
  current = session;
  try {
    return body();
  } finally {
    current = before;
  }
}

/** Undefined where nobody asks: what is done later, on another turn, must say for whom. */
export function asker(): ClientSession | undefined {
  return current;
}

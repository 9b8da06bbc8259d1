import type { Interruptible } from './dirty-bytes.ts';
import { StatusError } from './status-error.ts';

const EINTR = 4;

/** Waits for something that goes on also when its waiter gives up; then it rejects with StatusError EINTR. */
export function unlessInterrupted<T>(work: Promise<T>, { signal }: Interruptible): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => {
      reject(new StatusError(EINTR));
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', onAbort);
    });
  });
}

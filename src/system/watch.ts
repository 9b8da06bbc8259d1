import { pollHandle } from './libc.ts';

export interface Watch {
  /** Ends it; to be called before the descriptor is closed. */
  stop(): void;
}

/**
 * Calls `onReadable` from the event loop while a descriptor is readable, hung up or in error: once an iteration, until
 * it was drained (libuv's uv_poll_t, level-triggered). Keeps the process alive. No thread and no wake-up of one is
 * between the kernel and the callback.
 */
export function watchReadable(fd: number, onReadable: () => void): Watch {
  let isStopped = false;
  const handle = pollHandle(fd, () => {
    if (isStopped) return;
    try {
      onReadable();
    } finally {
      // The native callback does not run promise jobs; the check phase, which follows at once, does.
      setImmediate(nothing);
    }
  });
  return {
    stop: () => {
      if (isStopped) return;
      isStopped = true;
      handle.close();
    },
  };
}

function nothing(): void {
  // Promise jobs run after it.
}

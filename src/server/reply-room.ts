import type { ServerContext } from './client-session.ts';

/**
 * Makes a bulk reply once there is room for it, which is given back when the reply has left.
 *
 * @param wantedBytes the most that the reply can have
 * @param make is told how many bytes it may have: fewer than wanted while memory is short
 */
export function withReplyRoom<T>(
  { call, session }: ServerContext,
  wantedBytes: number,
  make: (bytes: number) => T | Promise<T>,
): T | Promise<T> {
  const proceed = (bytes: number): T | Promise<T> => {
    call.afterReply(() => {
      session.replies.give(bytes);
    });
    return make(bytes);
  };
  const taken = session.replies.take(wantedBytes);
  return typeof taken === 'number' ? proceed(taken) : taken.then(proceed);
}

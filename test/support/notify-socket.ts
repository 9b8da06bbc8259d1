/** A socket such as systemd gives to services of Type=notify. */
import { libc } from '../../src/system/libc.ts';
import { closeFd } from '../../src/system/files.ts';
import { watchReadable } from '../../src/system/watch.ts';

const AF_UNIX = 1;
const SOCK_DGRAM_NONBLOCK_CLOEXEC = 2 | 0o4000 | 0o2000000;
const MESSAGE_BYTES_MAX = 4096;

export interface NotifySocket {
  /** All that has come so far. */
  readonly messages: readonly string[];
  /** Settles when a message that contains `text` has come. */
  readonly until: (text: string) => Promise<void>;
}

/** Listens at a path, or at `@name`; ends with the test. */
export function listenForNotices(
  t: { teardown: (action: () => void) => unknown },
  name: string,
): NotifySocket {
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0);
  const path = Buffer.from(name.startsWith('@') ? `\0${name.slice(1)}` : `${name}\0`);
  const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), path]);
  if (libc.bind(fd, address, address.length) !== 0) throw new Error(`cannot listen at ${name}`);
  const messages: string[] = [];
  const waiting: { text: string; done: () => void }[] = [];
  const watch = watchReadable(fd, () => {
    const buffer = Buffer.alloc(MESSAGE_BYTES_MAX);
    for (;;) {
      const length = libc.read(fd, buffer, buffer.length);
      if (length < 0) break;
      messages.push(buffer.toString('utf8', 0, length));
    }
    for (const { text, done } of waiting) if (messages.some((message) => message.includes(text))) done();
  });
  t.teardown(() => {
    watch.stop();
    closeFd(fd);
  });
  return {
    messages,
    until: (text) =>
      new Promise((done) => {
        if (messages.some((message) => message.includes(text))) done();
        else waiting.push({ text, done });
      }),
  };
}

/** Content of generated files: no two blocks of 512 bytes are equal, so that nothing can be mixed up unseen. */
import { open } from 'node:fs/promises';
import type { Phase } from './progress.ts';
import { InterruptedError } from './programs.ts';

export const BLOCK_BYTES = 1024 * 1024;
const STAMP_EVERY_BYTES = 512;
const WORD_BYTES = 4;
/** xorshift32's start: any number but 0. */
const SEED = 0x9e3779b9;

/** Fills buffers with content in which every 512 bytes say which file and which place in it they are. */
export class StampedContent {
  readonly #words = new Uint32Array(BLOCK_BYTES / WORD_BYTES);

  constructor() {
    let state = SEED;
    for (let index = 0; index < this.#words.length; index += 1) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      this.#words[index] = state;
    }
  }

  /** The bytes of file number `file` from `offset`, a multiple of 1 MiB; valid until the next call. */
  at(file: number, offset: number, lengthBytes: number): Uint8Array {
    const first = offset / STAMP_EVERY_BYTES;
    const stride = STAMP_EVERY_BYTES / WORD_BYTES;
    for (let stamp = 0; stamp * STAMP_EVERY_BYTES < lengthBytes; stamp += 1) {
      this.#words[stamp * stride] = file;
      this.#words[stamp * stride + 1] = first + stamp;
    }
    return new Uint8Array(this.#words.buffer, 0, lengthBytes);
  }
}

export interface LargeFile {
  readonly content: StampedContent;
  /** The file's number among those of one tree. */
  readonly number: number;
  readonly largeBytes: number;
  readonly signal: AbortSignal;
  /** Advanced by bytes. */
  readonly phase: Phase;
}

/** Makes a file that does not exist yet. Rejects with the file system's error (ENOSPC) or InterruptedError. */
export async function writeLargeFile(path: string, options: LargeFile): Promise<void> {
  const { content, number, largeBytes, signal, phase } = options;
  const file = await open(path, 'wx', 0o644);
  try {
    for (let offset = 0; offset < largeBytes; offset += BLOCK_BYTES) {
      if (signal.aborted) throw new InterruptedError();
      const length = Math.min(BLOCK_BYTES, largeBytes - offset);
      await writeAll(file, content.at(number, offset, length));
      phase.advance(length);
    }
    // Otherwise the disk would be busy with it during the timed reads.
    await file.datasync();
  } finally {
    await file.close();
  }
}

async function writeAll(file: Awaited<ReturnType<typeof open>>, data: Uint8Array): Promise<void> {
  for (let done = 0; done < data.length;) {
    done += (await file.write(data, done)).bytesWritten;
  }
}

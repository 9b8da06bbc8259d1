/** Files in memory whose every version has a content of its own, read when a test says so. */
import { PAGE_BYTES } from '../../src/fgdp/segment-layout.ts';
import type { FileStatus } from '../../src/store/operations.ts';
import type { PageFile } from '../../src/store/page-file.ts';

/** The bytes of a version of a file from `offset` on: the file, the version and the page show in each eighth byte. */
export function fakeContent(id: number, version: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const mark = Buffer.alloc(8);
  for (let at = 0; at < length; at += PAGE_BYTES) {
    mark.writeUInt16LE(id, 0);
    mark.writeUInt32LE(version, 2);
    mark.writeUInt16LE((offset + at) / PAGE_BYTES, 6);
    bytes.fill(mark, at, Math.min(at + PAGE_BYTES, length));
  }
  return bytes;
}

export class FakePageFile implements PageFile {
  readonly key: string;
  readonly id: number;
  version = 1;
  size: number;
  isOpenForWriting = false;
  /** While set, reads wait until `finishRead`. */
  delayed = false;
  /** The next reads fail. */
  broken = false;
  readonly reads: (() => void)[] = [];
  readonly #listeners = new Set<() => void>();
  readonly #notices: (() => void)[] = [];

  constructor(id: number, size: number) {
    this.id = id;
    this.key = `file-${id}`;
    this.size = size;
  }

  /** Changes nobody was told of yet. */
  get notices(): number {
    return this.#notices.length;
  }

  get watches(): number {
    return this.#listeners.size;
  }

  status(): FileStatus {
    return { ctimeNs: BigInt(this.version), size: BigInt(this.size) } as FileStatus;
  }

  isBeingWritten(): boolean {
    return this.isOpenForWriting;
  }

  async read(offset: bigint, target: Uint8Array): Promise<number> {
    const at = Number(offset);
    const half = target.length >> 1;
    const broken = this.broken;
    const copy = (from: number, to: number): void => {
      target.set(fakeContent(this.id, this.version, at, target.length).subarray(from, to), from);
    };
    // A change between the halves makes a copy that is neither.
    copy(0, half);
    if (this.delayed) await new Promise<void>((resolve) => this.reads.push(resolve));
    if (broken) throw Object.assign(new Error('EIO'), { code: 'EIO', errno: -5, syscall: 'read' });
    const length = Math.max(0, Math.min(target.length, this.size - at));
    copy(half, length);
    return length;
  }

  watch(onChange: () => void): { stop(): void } {
    this.#listeners.add(onChange);
    return { stop: () => this.#listeners.delete(onChange) };
  }

  /** Another version; who watches hears of it with `tell`. */
  change(size = this.size): void {
    this.version += 1;
    this.size = size;
    const listeners = [...this.#listeners];
    this.#notices.push(() => {
      for (const listener of listeners) if (this.#listeners.has(listener)) listener();
    });
  }

  tell(): void {
    this.#notices.shift()?.();
  }
}

/** What a record writer was told is on the disk, held against the files. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { recordBytes } from './records.mjs';

/** See record-writer.mjs. */
export interface RecordStep {
  readonly file: string;
  readonly truncate?: number;
  readonly writes: readonly { readonly offset: number; readonly bytes: number; readonly record: string }[];
}

const EMPTY = Buffer.alloc(0);

/** `content` after a step. */
function after(content: Buffer, { truncate, writes }: RecordStep): Buffer {
  const end = Math.max(truncate ?? content.length, ...writes.map(({ offset, bytes }) => offset + bytes));
  const result = Buffer.alloc(end);
  content.copy(result, 0, 0, Math.min(truncate ?? content.length, content.length));
  for (const { offset, bytes, record } of writes) recordBytes(record, bytes).copy(result, offset);
  return result;
}

export class RecordLedger {
  readonly #files = new Map<string, Buffer>();
  #begun: RecordStep | undefined;

  begin(step: RecordStep): void {
    this.#begun = step;
  }

  done(): void {
    const step = this.#begun;
    if (step === undefined) throw new Error('done before begun');
    this.#files.set(step.file, after(this.#files.get(step.file) ?? EMPTY, step));
    this.#begun = undefined;
  }

  get bytes(): number {
    return [...this.#files.values()].reduce((sum, content) => sum + content.length, 0);
  }

  /** What is not as it was acknowledged; of the step that is under way, any part may be there. */
  complaints(directory: string): string[] {
    const found: string[] = [];
    for (const file of new Set([...this.#files.keys(), ...(this.#begun ? [this.#begun.file] : [])])) {
      const path = join(directory, file);
      const known = this.#files.get(file);
      if (!existsSync(path)) {
        if (known !== undefined) found.push(`${path} is not there`);
        continue;
      }
      const begun = this.#begun?.file === file ? this.#begun : undefined;
      const complaint = difference(readFileSync(path), known ?? EMPTY, begun);
      if (complaint !== undefined) found.push(`${path}: ${complaint}`);
    }
    return found;
  }
}

function difference(found: Buffer, known: Buffer, begun: RecordStep | undefined): string | undefined {
  if (found.equals(known)) return undefined;
  if (begun === undefined)
    return `${found.length} bytes, ${known.length} acknowledged, ${firstAt(found, known)}`;
  const next = after(known, begun);
  // SETATTR of the size is one call: before it or after it.
  if (begun.truncate !== undefined) {
    return found.equals(next) ? undefined : `${firstAt(found, known)}, while it was truncated`;
  }
  if (found.length < known.length || found.length > next.length) {
    return `${found.length} bytes, ${known.length} acknowledged, ${next.length} with what was under way`;
  }
  for (let at = 0; at < found.length; at += 1) {
    if (found[at] === next[at] || found[at] === (known[at] ?? 0)) continue;
    return `byte ${at} is neither what was acknowledged nor what was under way`;
  }
  return undefined;
}

function firstAt(found: Buffer, known: Buffer): string {
  const at = found.findIndex((byte, index) => byte !== known[index]);
  return `first difference at ${at === -1 ? found.length : at}`;
}

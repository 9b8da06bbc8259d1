/** Records between two ends in one process: for tests, and for procedures called without a socket. */
import type { RecordTransport } from '../rpc/connection.ts';
import { RpcError } from '../rpc/error.ts';

class MemoryTransport implements RecordTransport {
  readonly peerName: string;
  peer: MemoryTransport | undefined;
  #onRecord: ((record: Uint8Array[]) => void) | undefined;
  #onClose: ((error: RpcError) => void) | undefined;
  #closed: RpcError | undefined;
  #paused = false;
  readonly #waiting: Uint8Array[][] = [];

  constructor(peerName: string) {
    this.peerName = peerName;
  }

  start(onRecord: (record: Uint8Array[]) => void, onClose: (error: RpcError) => void): void {
    this.#onRecord = onRecord;
    this.#onClose = onClose;
    this.#deliver();
  }

  send(record: readonly Uint8Array[], onSent?: () => void): void {
    // A socket copies what it sends, so the receiver must not see later changes of the sender's memory.
    const copy = record.map((chunk) => Uint8Array.from(chunk));
    onSent?.();
    const { peer } = this;
    if (peer === undefined || this.#closed !== undefined) return;
    queueMicrotask(() => {
      peer.#waiting.push(copy);
      peer.#deliver();
    });
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#deliver();
  }

  close(reason = new RpcError('CONNECTION_LOST', 'closed here')): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    queueMicrotask(() => {
      this.#onClose?.(reason);
      this.peer?.close(new RpcError('CONNECTION_LOST', `${this.peerName} closed the connection`));
    });
  }

  #deliver(): void {
    while (!this.#paused && this.#onRecord !== undefined && this.#closed === undefined) {
      const record = this.#waiting.shift();
      if (record === undefined) return;
      this.#onRecord(record);
    }
  }
}

/** Two connected ends. */
export function memoryPair(): [RecordTransport, RecordTransport] {
  const left = new MemoryTransport('memory:right');
  const right = new MemoryTransport('memory:left');
  left.peer = right;
  right.peer = left;
  return [left, right];
}

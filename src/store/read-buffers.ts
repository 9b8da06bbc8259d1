import { READ_BYTES_MAX, SMALL_READ_BYTES_MAX, SPARE_READ_BUFFERS_MAX } from './limits.ts';

const spare: Buffer[] = [];

/** Memory for one read of `length` bytes (at most READ_BYTES_MAX), with whatever was in it. */
export function takeReadBuffer(length: number): Buffer {
  if (length <= SMALL_READ_BYTES_MAX) return Buffer.allocUnsafe(length);
  return (spare.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES_MAX)).subarray(0, length);
}

/** Gives it back: nobody may look at it any more. Not giving it back is no leak, only slower. */
export function returnReadBuffer(buffer: Buffer): void {
  const whole = buffer.buffer;
  if (whole.byteLength === READ_BYTES_MAX && spare.length < SPARE_READ_BUFFERS_MAX)
    spare.push(Buffer.from(whole));
}

export function spareReadBuffers(): number {
  return spare.length;
}

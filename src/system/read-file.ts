import fs from 'node:fs';
import { preadNowait } from './files.ts';

/**
 * Fills `buffer` from `offsetBytes` on, with fewer bytes only at the end of the file. What the page cache has is
 * copied at once: then the length comes back as a number. The rest is read by libuv's pool, and a promise comes
 * back, which rejects with a system error of Node's. Throws ErrnoError.
 */
export function readFully(fd: number, buffer: Uint8Array, offsetBytes: bigint): number | Promise<number> {
  let filled = 0;
  while (filled < buffer.length) {
    const rest = filled === 0 ? buffer : buffer.subarray(filled);
    const length = preadNowait(fd, rest, offsetBytes + BigInt(filled));
    if (length === undefined) return readRest(fd, buffer, offsetBytes, filled);
    if (length === 0) break;
    filled += length;
  }
  return filled;
}

async function readRest(fd: number, buffer: Uint8Array, offsetBytes: bigint, done: number): Promise<number> {
  let filled = done;
  while (filled < buffer.length) {
    const length = await readAsync(fd, buffer, filled, offsetBytes + BigInt(filled));
    if (length === 0) break;
    filled += length;
  }
  return filled;
}

function readAsync(fd: number, buffer: Uint8Array, at: number, position: bigint): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(fd, buffer, at, buffer.length - at, position, (error, length) => {
      if (error) reject(error);
      else resolve(length);
    });
  });
}

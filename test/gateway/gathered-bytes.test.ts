import t from 'tap';
import { EXTENT_OVERHEAD_BYTES } from '../../src/gateway/limits.ts';
import { GatheredBytes } from '../../src/gateway/gathered-bytes.ts';
import type { Author } from '../../src/gateway/write-author.ts';

const AUTHOR = { key: 'somebody' } as unknown as Author;
const WSIZE = 1 << 20;

t.test('what was gathered holds hardly more memory than it counts for', async (t) => {
  for (const parts of [[1], [100, 100, 100], [4000, 97], [5000, 1, 1], [32_768, 40_000, 10], [WSIZE]]) {
    const gathered = new GatheredBytes(0n, AUTHOR, 1, WSIZE);
    const expected: Buffer[] = [];
    for (const [at, length] of parts.entries()) {
      const bytes = Buffer.alloc(length, at + 1);
      expected.push(bytes);
      gathered.put(gathered.end, bytes, length > 32_768);
    }
    const { pieces, lengthBytes } = gathered.extent();
    t.ok(Buffer.concat(pieces).equals(Buffer.concat(expected)), `${parts.join('+')} bytes, in their order`);
    const memory = new Set(pieces.map(({ buffer }) => buffer));
    const held = [...memory].reduce((sum, { byteLength }) => sum + byteLength, 0);
    t.ok(held <= 2 * lengthBytes + EXTENT_OVERHEAD_BYTES, `${held} bytes of memory for ${lengthBytes}`);
  }
});

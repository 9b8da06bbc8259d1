/**
 * A decoded value in the fixtures' form: bytes as hex, 64-bit integers as decimal strings, bools as 0 and 1, and
 * bulk data (a list of pieces called `data`) joined, so that equal contents compare equal.
 */
export function plain(value: unknown, key = ''): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (Array.isArray(value)) {
    return key === 'data'
      ? Buffer.concat(value as Uint8Array[]).toString('hex')
      : value.map((item) => plain(item));
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner, name)]));
}

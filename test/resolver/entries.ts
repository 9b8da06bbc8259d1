import type { ServerEntryInput } from '../../src/resolver/schema.ts';

/** A valid public key that differs by its number. */
export function keyNumber(number: number): string {
  return Buffer.alloc(32, number).toString('base64');
}

/** A valid server id that differs by its number. */
export function idNumber(number: number): string {
  return number.toString(16).padStart(32, '0');
}

/** A server with one export `doc`, reachable by all routes, with what the test wants otherwise. */
export function serverEntry(number: number, changes: Partial<ServerEntryInput> = {}): ServerEntryInput {
  return {
    id: idNumber(number),
    name: `server-${number}`,
    publicKey: keyNumber(number),
    node: { bootId: `boot-${number}`, name: `node-${number}`, cluster: 'rack', seenAtMs: 1000 + number },
    endpoints: [
      { route: 'near', address: `/run/nearmount-${number}.sock` },
      { route: 'backplane', address: '10.1.0.1:2049' },
      { route: 'network', address: '192.0.2.1:2049' },
    ],
    exports: [{ name: 'doc' }],
    ...changes,
  };
}

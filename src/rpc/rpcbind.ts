/** The rpcbind program, version 3: RFC 1833 section 2.2.1. It tells clients at which address a program answers. */
import { bool, list, nothing, opaque, struct, u32, type Infer } from '../xdr/codec.ts';
import { RPCBIND_LIST_MAX, RPCBIND_STRING_BYTES_MAX } from './limits.ts';
import { procedure, type Program } from './program.ts';

const text = (name: string) => opaque(name, RPCBIND_STRING_BYTES_MAX);

export const rpcb = struct('rpcb', {
  r_prog: u32,
  r_vers: u32,
  /** `tcp`, `tcp6`, ...: RFC 5665 section 5.1. */
  r_netid: text('r_netid'),
  /** Universal address, RFC 5665 section 5.2.3: the host, and the port as two decimal bytes. */
  r_addr: text('r_addr'),
  r_owner: text('r_owner'),
});
export type rpcb = Infer<typeof rpcb>;

/** The procedures that a server needs. */
export const RPCBIND_PROCEDURES = {
  NULL: procedure(0, nothing, nothing),
  SET: procedure(1, rpcb, bool, { idempotent: false }),
  UNSET: procedure(2, rpcb, bool, { idempotent: false }),
  DUMP: procedure(4, nothing, list(rpcb, RPCBIND_LIST_MAX)),
} as const;

export const RPCBIND_PROGRAM: Program<typeof RPCBIND_PROCEDURES> = {
  name: 'RPCBIND',
  number: 100000,
  version: 3,
  procedures: RPCBIND_PROCEDURES,
};

const HIGH_BYTE = 8;
const LOW_BYTE_MASK = 0xff;

/** The universal address of an IP address and a TCP port. */
export function universalAddress(host: string, port: number): string {
  return `${host}.${port >> HIGH_BYTE}.${port & LOW_BYTE_MASK}`;
}

/** The host and port of a universal address; undefined for what is none. */
export function readUniversalAddress(text: string): { host: string; port: number } | undefined {
  const [, host, high, low] = /^(.+)\.(\d{1,3})\.(\d{1,3})$/.exec(text) ?? [];
  if (host === undefined || Number(high) > LOW_BYTE_MASK || Number(low) > LOW_BYTE_MASK) return undefined;
  return { host, port: (Number(high) << HIGH_BYTE) | Number(low) };
}

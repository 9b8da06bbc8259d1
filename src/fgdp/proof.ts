/** The proof behind a route: who the server is, and that it runs on this kernel. */
import { createHash, createPublicKey, sign, verify, type KeyObject } from 'node:crypto';
import { encodeAll, opaque, opaqueFixed, struct, type Infer } from '../xdr/codec.ts';
import { NONCE_BYTES, PUBLIC_KEY_BYTES, SERVER_ID_BYTES, TOKEN_BYTES } from './program.ts';

const proof_body = struct('proof', {
  /** Ties the signature to this use of the key. */
  context: opaque('context', 32),
  nonce: opaqueFixed('nonce', NONCE_BYTES),
  server_id: opaqueFixed('server_id', SERVER_ID_BYTES),
  boot_id: opaque('boot_id', 64),
  channel_token: opaque('channel_token', TOKEN_BYTES),
});

/** What a server signs in HELLO. The nonce is the gateway's, fresh for each HELLO. */
export type Proof = Omit<Infer<typeof proof_body>, 'context'>;

const CONTEXT = Buffer.from('nearmount FGDP HELLO 1');
/** SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410 section 4). */
const ED25519_SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

function proofMessage(proof: Proof): Buffer {
  return Buffer.concat(encodeAll(proof_body, { context: CONTEXT, ...proof }));
}

export function signProof(privateKey: KeyObject, proof: Proof): Buffer {
  return sign(null, proofMessage(proof), privateKey);
}

/** Whether `signature` was made over `proof` by the owner of the raw 32-byte Ed25519 key. */
export function verifyProof(publicKey: Uint8Array, proof: Proof, signature: Uint8Array): boolean {
  if (publicKey.length !== PUBLIC_KEY_BYTES) return false;
  const key = createPublicKey({
    key: Buffer.concat([ED25519_SPKI_PREFIX, publicKey]),
    format: 'der',
    type: 'spki',
  });
  return verify(null, proofMessage(proof), key, signature);
}

/** The raw 32 bytes of an Ed25519 public key. */
export function rawPublicKey(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'spki' }).subarray(ED25519_SPKI_PREFIX.length);
}

/** A server's id: the first 16 bytes of SHA-256 over its raw public key, so that nobody else can have it. */
export function serverIdOf(publicKey: Uint8Array): Buffer {
  return createHash('sha256').update(publicKey).digest().subarray(0, SERVER_ID_BYTES);
}

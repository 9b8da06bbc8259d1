/** The server's own key: an Ed25519 pair in the state directory, made at the first start. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  type KeyObject,
} from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rawPublicKey, serverIdOf } from '../fgdp/proof.ts';

const KEY_FILE = 'server-key.pem';

export interface ServerKey {
  readonly privateKey: KeyObject;
  /** Raw, 32 bytes. */
  readonly publicKey: Buffer;
  /** 16 bytes, derived from the public key. */
  readonly id: Buffer;
}

/**
 * Loads the key, or makes it: complete under another name first, so that a killed server leaves no half of one.
 *
 * @throws Error of the file system, or one that names the file when it holds no Ed25519 key
 */
export function loadServerKey(stateDirectory: string): ServerKey {
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
  const file = join(stateDirectory, KEY_FILE);
  let pem: string;
  try {
    pem = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    pem = createKeyFile(file);
  }
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(pem);
  } catch (error) {
    throw new Error(`${file} holds no private key: move it away and a new one is made`, { cause: error });
  }
  if (privateKey.asymmetricKeyType !== 'ed25519') throw new Error(`${file} holds no Ed25519 key`);
  const publicKey = rawPublicKey(createPublicKey(privateKey));
  return { privateKey, publicKey, id: serverIdOf(publicKey) };
}

function createKeyFile(file: string): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  const temporary = `${file}.${randomBytes(6).toString('hex')}`;
  writeFileSync(temporary, privateKey.export({ format: 'pem', type: 'pkcs8' }), {
    mode: 0o600,
    flag: 'wx',
    flush: true,
  });
  try {
    linkSync(temporary, file);
  } catch (error) {
    // Another server with the same state directory was first: its key counts.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    unlinkSync(temporary);
  }
  return readFileSync(file, 'utf8');
}

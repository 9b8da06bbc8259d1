import { generateKeyPairSync, randomBytes } from 'node:crypto';
import t from 'tap';
import { rawPublicKey, serverIdOf, signProof, verifyProof, type Proof } from '../../src/fgdp/proof.ts';

const pair = generateKeyPairSync('ed25519');
const publicKey = rawPublicKey(pair.publicKey);
const proof: Proof = {
  nonce: randomBytes(32),
  server_id: serverIdOf(publicKey),
  boot_id: Buffer.from('4f2f9e7c-0000-4000-8000-000000000001'),
  channel_token: randomBytes(32),
};
const signature = signProof(pair.privateKey, proof);

t.test('a proof holds for exactly what was signed, with exactly that key', async (t) => {
  t.ok(verifyProof(publicKey, proof, signature));
  const others: Record<string, Partial<Proof>> = {
    nonce: { nonce: randomBytes(32) },
    'server id': { server_id: randomBytes(16) },
    'boot id': { boot_id: Buffer.from('4f2f9e7c-0000-4000-8000-000000000002') },
    'shorter boot id': { boot_id: proof.boot_id.subarray(1) },
    token: { channel_token: randomBytes(32) },
    'no token': { channel_token: new Uint8Array(0) },
  };
  for (const [what, changed] of Object.entries(others))
    t.notOk(verifyProof(publicKey, { ...proof, ...changed }, signature), `another ${what}`);
  const stranger = generateKeyPairSync('ed25519');
  t.notOk(verifyProof(rawPublicKey(stranger.publicKey), proof, signature), 'another key');
  t.notOk(verifyProof(publicKey, proof, signProof(stranger.privateKey, proof)), 'signed by another');
});

t.test('what is no key or no signature proves nothing, and does not throw', async (t) => {
  for (const key of [Buffer.alloc(0), Buffer.alloc(31), Buffer.alloc(33), publicKey.subarray(1)])
    t.notOk(verifyProof(key, proof, signature));
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(64), signature.subarray(1), randomBytes(65)])
    t.notOk(verifyProof(publicKey, proof, bytes));
  t.notOk(verifyProof(Buffer.alloc(32, 0xff), proof, signature));
});

t.test('a server id cannot be chosen', async (t) => {
  t.equal(serverIdOf(publicKey).length, 16);
  t.same(serverIdOf(publicKey), serverIdOf(Buffer.from(publicKey)));
  t.notSame(serverIdOf(publicKey), serverIdOf(randomBytes(32)));
});

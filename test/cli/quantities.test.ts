import t from 'tap';
import { parseSize, shortSize, wholeNumber } from '../../src/cli/quantities.ts';

t.test('sizes', async (t) => {
  const parse = parseSize('--size', 1024 ** 2, 1024 ** 4);
  t.equal(parse('1048576'), 1024 ** 2);
  t.equal(parse('1M'), 1024 ** 2);
  t.equal(parse('3G'), 3 * 1024 ** 3);
  t.equal(parse('1T'), 1024 ** 4);
  for (const bad of ['', '1', '1023K', '2T', '1.5M', '-1M', '1m', 'M', '1MB', '0x100000']) {
    t.throws(() => parse(bad), { exitStatus: 2, message: /--size .*1M to 1T/ }, bad);
  }
});

t.test('whole numbers', async (t) => {
  const parse = wholeNumber('--rounds', 1, 1000);
  t.equal(parse('1'), 1);
  t.equal(parse('1000'), 1000);
  for (const bad of ['', '0', '1001', '1e3', '-1', '1.0', ' 1', '9999999999']) {
    t.throws(() => parse(bad), { exitStatus: 2, message: /--rounds .*1 to 1000/ }, bad);
  }
});

t.test('the largest unit that divides', async (t) => {
  t.equal(shortSize(1024 ** 2), '1M');
  t.equal(shortSize(1536), '1536');
  t.equal(shortSize(16 * 1024 ** 3), '16G');
});

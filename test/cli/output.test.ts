import t from 'tap';
import { printJson, printRemark, printTable } from '../../src/cli/output.ts';
import type { CliStreams } from '../../src/cli/output.ts';

function capture(print: (streams: CliStreams) => void): { out: string; err: string } {
  const written = { out: '', err: '' };
  print({ out: { write: (text) => (written.out += text) }, err: { write: (text) => (written.err += text) } });
  return written;
}

t.test('tables are aligned, without borders or trailing spaces', async (t) => {
  const { out, err } = capture((streams) => {
    printTable(
      streams,
      ['NAME', 'N'],
      [
        ['doc', '1'],
        ['Bücher', '22'],
        ['', ''],
        ['a\u001b[2J\nb', ''],
      ],
    );
  });
  t.equal(out, 'NAME           N\ndoc            1\nBücher         22\n\na\\x1b[2J\\x0ab\n');
  t.equal(err, '');
  t.equal(
    capture((streams) => {
      printTable(streams, ['A', 'B'], []);
    }).out,
    'A  B\n',
  );
});

t.test('JSON keeps 64-bit integers', async (t) => {
  const { out } = capture((streams) => {
    printJson(streams, { size: 2n ** 63n, n: 1 });
  });
  t.same(JSON.parse(out), { size: '9223372036854775808', n: 1 });
});

t.test('remarks are one line on stderr', async (t) => {
  const written = capture((streams) => {
    printRemark(streams, 'a\nb');
  });
  t.same(written, { out: '', err: 'nearmount: a\\x0ab\n' });
});

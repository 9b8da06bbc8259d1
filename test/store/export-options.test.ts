import path from 'node:path';
import t from 'tap';
import { ExportOptionError, parseExportOption } from '../../src/store/export-options.ts';

t.test('defaults', async (t) => {
  t.same(parseExportOption('data=/srv/data'), {
    name: 'data',
    directory: '/srv/data',
    readOnly: false,
    squash: 'root',
    anonymousUid: 65534,
    anonymousGid: 65534,
    grants: 'descriptors',
    secure: false,
  });
  t.equal(parseExportOption('data=/srv/data,rw').readOnly, false);
  t.equal(parseExportOption('a=b').directory, path.resolve('b'));
  t.equal(parseExportOption('a=/x=y').directory, '/x=y');
});

t.test('every setting', async (t) => {
  t.match(
    parseExportOption(
      'A.b-1_=/d,ro,squash=all,anonuid=0,anongid=4294967294,clients=10.0.0.0/8+::1+fd00::/8,secure,grants=none',
    ),
    {
      name: 'A.b-1_',
      readOnly: true,
      squash: 'all',
      anonymousUid: 0,
      anonymousGid: 4294967294,
      secure: true,
      clients: ['10.0.0.0/8', '::1', 'fd00::/8'],
      grants: 'none',
    },
  );
});

t.test('what is wrong is named, with what is allowed', async (t) => {
  const wrong: [string, RegExp][] = [
    ['data', /NAME=DIRECTORY is wanted/],
    ['=/d', /name ''/],
    ['..=/d', /name '\.\.'.*letters/],
    ['a b=/d', /name 'a b'/],
    [`${'x'.repeat(256)}=/d`, /1 to 255/],
    ['a=', /directory is missing/],
    ['a=/d\0', /NUL/],
    ['a=/d,grants=all', /grants=descriptors\|read\|pages\|none/],
    ['a=/d,wo', /'wo': ro, rw, squash=, anonuid=, anongid=, clients=, secure and grants= are allowed/],
    ['a=/d,', /''/],
    ['a=/d,ro=1', /ro takes no value/],
    ['a=/d,secure=1', /secure takes no value/],
    ['a=/d,anonuid=root', /'anonuid=root': anonuid=0 to/],
    ['a=/d,anongid=4294967295', /anongid=0 to anongid=4294967294/],
    ['a=/d,anonuid', /'anonuid'/],
    ['a=/d,ro,ro', /'ro' is given twice/],
    ['a=/d,ro,rw', /'ro' and 'rw' exclude each other/],
    ['a=/d,rw,squash=all,ro', /'ro' and 'rw' exclude each other/],
    ['a=/d,rw=1', /rw takes no value/],
    ['a=/d,squash=me', /'squash=me': squash=root\|all\|none is allowed/],
    ['a=/d,squash', /'squash': squash=root/],
    ['a=/d,clients=10.0.0.0/33', /client '10.0.0.0\/33'/],
    ['a=/d,clients=', /client ''/],
    ['a=/d,clients=::/129', /client '::\/129'/],
    ['a=/d,clients=host', /client 'host'/],
    ['a=/d,clients=1.2.3.4/8/8', /client/],
    ['a=/d,clients=fe80::1%eth0', /client/],
  ];
  for (const [text, message] of wrong) {
    t.throws(() => parseExportOption(text), { name: 'ExportOptionError', message }, text);
  }
  t.notMatch(new ExportOptionError('a', 'b').message, /\n/);
});

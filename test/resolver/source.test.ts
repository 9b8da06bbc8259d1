import t from 'tap';
import { parseSource, SourceError } from '../../src/resolver/source.ts';

t.test('names of exports', async (t) => {
  for (const name of ['doc', 'a.b-c_d', 'Bücher', 'nfs:x'])
    t.strictSame(parseSource(name), { kind: 'export', name });
});

t.test('servers named by address', async (t) => {
  const nfs = (host: string, port: number, mountPort: number, path: string): object => {
    return { kind: 'nfs', host, port, mountPort, path };
  };
  t.strictSame(parseSource('nfs://host/doc'), nfs('host', 2049, 2049, '/doc'));
  t.strictSame(parseSource('NFS://10.0.0.1:20490/a/b/'), nfs('10.0.0.1', 20490, 20490, '/a/b/'));
  t.strictSame(parseSource('nfs://[::1]/'), nfs('::1', 2049, 2049, '/'));
  t.strictSame(parseSource('nfs://[fd00::1]:1/x?mountport=20491'), nfs('fd00::1', 1, 20491, '/x'));
  t.strictSame(parseSource('nfs://h/x?'), nfs('h', 2049, 2049, '/x'));
  t.strictSame(parseSource('nfs://h/a%20b/%C3%A9%3F%25?mountport=7'), nfs('h', 2049, 7, '/a b/é?%'));
  t.strictSame(parseSource('nfs://h/../a//b'), nfs('h', 2049, 2049, '/../a//b'), 'the path is left as it is');
});

t.test('errors quote the source and say what is wrong', async (t) => {
  const bad: [string, RegExp][] = [
    ['', /export's name is empty/],
    ['a/b', /export's name must not contain '\/'/],
    ['host:/srv', /written nfs:\/\/host\/srv/],
    ['http://host/x', /"http" is not a scheme/],
    ['://x', /"" is not a scheme/],
    ['nfs://', /path is missing/],
    ['nfs://host', /path is missing/],
    ['nfs:///x', /host is missing/],
    ['nfs://me@host/x', /no user/],
    ['nfs://host:/x', /"" is not a port/],
    ['nfs://host:99999/x', /not a port/],
    ['nfs://host:0/x', /port 0/],
    ['nfs://::1/x', /needs brackets/],
    ['nfs://[::g]/x', /not an IPv6 address/],
    ['nfs://ho st/x', /neither a host name/],
    ['nfs://h/x?mountport=0', /mountport 0/],
    ['nfs://h/x?mountport=', /not a port/],
    ['nfs://h/x?mountport=1&mountport=2', /given twice/],
    ['nfs://h/x?vers=4', /"vers" is unknown/],
    ['nfs://h/x?a?b', /two '\?'/],
    ['nfs://h/x#y', /written %23/],
    ['nfs://h/%', /does not begin a byte of UTF-8/],
    ['nfs://h/%FF', /does not begin a byte of UTF-8/],
    ['nfs://h/%00', /NUL/],
    [`nfs://h/${'x'.repeat(1024)}`, /longer than 1024 bytes/],
  ];
  for (const [text, why] of bad) {
    t.throws(() => parseSource(text), SourceError, text);
    t.throws(() => parseSource(text), { message: why }, text);
    t.throws(
      () => parseSource(text),
      { message: `the source ${JSON.stringify(text)} cannot be used: ` },
      text,
    );
  }
});

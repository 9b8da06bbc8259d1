import t from 'tap';
import {
  AddressError,
  formatEndpoint,
  isWildcardHost,
  MAX_SOCKET_PATH_BYTES,
  parseSocketPath,
  parseTcpAddress,
} from '../../src/transport/endpoint.ts';

t.test('tcp addresses are read and written back', async (t) => {
  const good: [string, string, number][] = [
    ['10.0.0.1:2049', '10.0.0.1', 2049],
    ['0.0.0.0:0', '0.0.0.0', 0],
    ['storage-3.rack_1.example:65535', 'storage-3.rack_1.example', 65535],
    ['[::1]:2049', '::1', 2049],
    ['[fe80::1%eth0]:111', 'fe80::1%eth0', 111],
  ];
  for (const [text, host, port] of good) {
    const endpoint = parseTcpAddress(text);
    t.same(endpoint, { kind: 'tcp', host, port });
    t.equal(formatEndpoint(endpoint), text);
  }
});

t.test('wrong tcp addresses say what is wrong', async (t) => {
  const bad: [string, RegExp][] = [
    ['', /no port/],
    ['host', /no port/],
    ['[::1]', /no port/],
    [':2049', /host is missing/],
    ['::1:2049', /needs brackets/],
    ['[10.0.0.1]:1', /not an IPv6/],
    ['[::1', /needs brackets|no port/],
    ['10.0.0.300:1', /not an IPv4/],
    ['a b:1', /neither a host name/],
    ['-a:1', /neither a host name/],
    ['a..b:1', /neither a host name/],
    [`${'a'.repeat(64)}:1`, /neither a host name/],
    [`${'a.'.repeat(127)}:1`, /neither a host name/],
    ['host:', /not a port/],
    ['host:65536', /not a port/],
    ['host:-1', /not a port/],
    ['host:1e3', /not a port/],
    ['host:0x10', /not a port/],
  ];
  for (const [text, why] of bad) {
    t.throws(() => parseTcpAddress(text), AddressError, text);
    t.throws(() => parseTcpAddress(text), { message: why }, text);
  }
});

t.test('socket paths', async (t) => {
  const longest = `/${'é'.repeat((MAX_SOCKET_PATH_BYTES - 1) / 2)}`;
  t.equal(Buffer.byteLength(longest), MAX_SOCKET_PATH_BYTES);
  t.same(parseSocketPath(longest), { kind: 'unix', path: longest });
  t.equal(formatEndpoint(parseSocketPath('/run/a.sock')), '/run/a.sock');
  t.throws(() => parseSocketPath(`${longest}x`), { message: /108 bytes long; .* at most 107/ });
  t.throws(() => parseSocketPath('run/a.sock'), { message: /not an absolute/ });
  t.throws(() => parseSocketPath('/run/\0'), { message: /NUL/ });
});

t.test('wildcards', async (t) => {
  for (const host of ['0.0.0.0', '::', '0:0:0:0:0:0:0:0']) t.ok(isWildcardHost(host), host);
  for (const host of ['10.0.0.0', '::1', 'localhost', '0']) t.notOk(isWildcardHost(host), host);
});

import {
  appendFileSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createLogger } from '../../src/observe/log.ts';
import { CallLog, type CallLogOptions } from '../../src/server/call-log.ts';
import { INTENT_BYTES_MAX } from '../../src/server/limits.ts';
import { makeDirectory } from '../support/trees.ts';

const SILENT = createLogger({ level: 'silent', name: 'test' });
const name = (key: string, client = 'c'): { clientId: string; key: string; peer: string } => ({
  clientId: client.repeat(16),
  key: key.padEnd(16),
  peer: 'here',
});
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));

function open(directory: string, options: Partial<CallLogOptions> = {}): CallLog {
  const log = CallLog.open({ stateDirectory: directory, bootId: 'boot', log: SILENT, ...options });
  if (log === undefined) throw new Error('somebody has it');
  return log;
}

/** What a server that starts after a kill -9 at this moment knows; it leaves no trace. */
function afterKill(t: Test, directory: string, options: Partial<CallLogOptions> = {}): CallLog {
  const copy = makeDirectory(t);
  for (const file of ['calls.0', 'calls.1']) copyFileSync(join(directory, file), join(copy, file));
  const log = open(copy, options);
  t.teardown(() => log.close());
  return log;
}

t.test('intent and outcome are there after a kill at any point', async (t) => {
  const directory = makeDirectory(t);
  const log = open(directory);
  t.teardown(() => log.close());
  const call = name('call');
  t.equal(afterKill(t, directory).find(call), undefined);
  log.begin(call, bytes('before'));
  t.same(afterKill(t, directory).find(call), { before: bytes('before'), reply: undefined });
  log.settle(call, bytes('reply'));
  t.same(afterKill(t, directory).find(call), { before: bytes('before'), reply: bytes('reply') });
  t.equal(afterKill(t, directory).find(name('call', 'd')), undefined, 'of another client');
});

t.test('what begins and takes no effect is forgotten', async (t) => {
  const directory = makeDirectory(t);
  const log = open(directory);
  t.teardown(() => log.close());
  log.begin(name('begun'), bytes('before'));
  log.forget(name('begun'));
  log.forget(name('never begun'));
  log.settle(name('refused'), bytes('reply'));
  t.same([log.find(name('begun')), log.find(name('refused'))?.reply], [undefined, bytes('reply')]);
  const after = afterKill(t, directory);
  t.same([after.find(name('begun')), after.find(name('refused'))], [undefined, undefined]);
});

t.test('after the machine went down an outcome is not believed, an intent is', async (t) => {
  const directory = makeDirectory(t);
  const log = open(directory);
  t.teardown(() => log.close());
  log.begin(name('call'), bytes('before'));
  log.settle(name('call'), bytes('reply'));
  const other = { bootId: 'another boot' };
  t.same(afterKill(t, directory, other).find(name('call')), { before: bytes('before'), reply: undefined });
});

t.test('records go on over rewrites and restarts', async (t) => {
  const directory = makeDirectory(t);
  const limits = { logBytesMin: 16 * 1024, callsPerClient: 8 };
  let log = open(directory, { limits });
  const replies = 600;
  for (let count = 0; count < replies; count += 1) {
    const call = name(`call ${count}`, 'ab'[count % 2]);
    log.begin(call, bytes('something of some length that was there before'));
    log.settle(call, bytes(`reply ${count}`));
    if (count % 97 !== 0) continue;
    log.close();
    log = open(directory, { limits });
  }
  t.teardown(() => log.close());
  const after = afterKill(t, directory, { limits });
  for (let count = replies - 16; count < replies; count += 1) {
    const call = name(`call ${count}`, 'ab'[count % 2]);
    t.same(after.find(call)?.reply, bytes(`reply ${count}`), `the newest 8 of each client: ${count}`);
  }
  t.equal(after.find(name(`call ${replies - 17}`, 'b')), undefined);
  t.ok(readFileSync(join(directory, 'calls.0')).length <= 16 * 1024);
});

t.test('the log grows with what is remembered, and no further', async (t) => {
  const directory = makeDirectory(t);
  const limits = { logBytesMin: 8 * 1024, logBytesMax: 32 * 1024, bytes: 1e9, clients: 1e9 };
  const warnings: string[] = [];
  const warn = (...said: unknown[]): void => {
    warnings.push(String(said.at(-1)));
  };
  const log = open(directory, { limits, log: { warn } as unknown as CallLogOptions['log'] });
  t.teardown(() => log.close());
  for (let count = 0; count < 2_000; count += 1) {
    log.begin(name('call', String.fromCharCode(32 + (count % 90))), bytes('x'.repeat(count % 100)));
    log.begin(name(`${count}`, 'Z'), bytes('x'.repeat(100)));
  }
  const sizes = ['calls.0', 'calls.1'].map((file) => readFileSync(join(directory, file)).length);
  t.equal(Math.max(...sizes), 32 * 1024);
  t.ok(log.find(name('1999', 'Z')));
  t.ok(afterKill(t, directory, { limits }).find(name('1999', 'Z')));
  t.match(warnings[0], /^the state directory is full/);
});

t.test('one server has it', async (t) => {
  const directory = makeDirectory(t);
  const options = { stateDirectory: directory, bootId: 'boot', log: SILENT };
  const log = open(directory);
  t.equal(CallLog.open(options), undefined);
  log.close();
  const next = CallLog.open(options);
  t.ok(next);
  next?.close();
});

t.test('what cannot be recorded does not begin', async (t) => {
  const directory = makeDirectory(t);
  const warnings: unknown[] = [];
  const warn = (...said: unknown[]): void => {
    warnings.push(said.at(-1));
  };
  const log = open(directory, { log: { warn } as unknown as CallLogOptions['log'] });
  log.begin(name('first'), bytes('before'));
  log.close();
  t.throws(() => log.begin(name('second'), bytes('before')), { name: 'StoreError', code: 'NOT_NOW' });
  t.equal(log.find(name('second')), undefined);
  log.settle(name('first'), bytes('reply'));
  t.same(log.find(name('first'))?.reply, bytes('reply'), 'what has happened is still answered');
  t.same(warnings, ['calls cannot be recorded in the state directory: changes wait'], 'said once');
  t.throws(() => log.begin(name('large'), new Uint8Array(INTENT_BYTES_MAX + 1)), RangeError);
});

t.test('what lies in the directory is no log of ours', async (t) => {
  const directory = makeDirectory(t);
  mkdirSync(join(directory, 'other'));
  for (const file of ['calls.0', 'calls.1']) appendFileSync(join(directory, file), 'a letter to somebody');
  const log = open(directory);
  t.equal(log.clients, 0);
  log.begin(name('call'), bytes('before'));
  t.ok(afterKill(t, directory).find(name('call')));
  log.close();
  const fd = openSync(join(directory, 'calls.1'), 'r+');
  writeSync(fd, 'damage', 4);
  closeSync(fd);
  const damaged = open(directory);
  t.equal(damaged.clients, 0, 'nothing that is not whole counts');
  damaged.close();
});

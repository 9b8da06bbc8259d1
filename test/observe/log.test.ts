import { spawnSync } from 'node:child_process';
import { Writable } from 'node:stream';
import t from 'tap';
import { createLogger, LOG_LEVELS } from '../../src/observe/log.ts';

function collector(): { destination: Writable; text: () => string } {
  const chunks: string[] = [];
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk.toString());
      done();
    },
  });
  return { destination, text: () => chunks.join('') };
}

t.test('JSON lines with ISO time, level by name, and errors with their code', async (t) => {
  const { destination, text } = collector();
  const log = createLogger({ level: 'info', name: 'serve', destination });
  const cause = Object.assign(new Error('gone'), { code: 'ECONNRESET' });
  const error = Object.assign(new Error('lost', { cause }), { code: 'SESSION_BROKEN' });
  log.debug('too much');
  log.info({ err: error, size: 2n ** 60n }, 'one');
  log.child({ export: 'doc' }).warn({ error }, 'two');
  const lines = text().trimEnd().split('\n');
  t.equal(lines.length, 2);
  const [one, two] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  t.match(one, {
    level: 'info',
    name: 'serve',
    pid: process.pid,
    msg: 'one',
    time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    err: { type: 'Error', message: 'lost', code: 'SESSION_BROKEN', cause: { code: 'ECONNRESET' } },
  });
  t.match(lines[0], `"size":${2n ** 60n}`);
  t.match(two, { level: 'warn', export: 'doc', error: { code: 'SESSION_BROKEN' } });
});

t.test('every level is accepted, and silent says nothing', async (t) => {
  for (const [index, level] of LOG_LEVELS.entries()) {
    const { destination, text } = collector();
    const log = createLogger({ level, name: 'x', destination });
    for (const method of ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const) log[method]('line');
    t.equal(text().split('\n').length - 1, LOG_LEVELS.length - 1 - index, level);
  }
});

t.test('lines for people', async (t) => {
  const { destination, text } = collector();
  const log = createLogger({ level: 'info', name: 'mount', destination, human: true });
  log.warn({ err: Object.assign(new Error('lost'), { code: 'ETIMEDOUT' }) }, 'route changed');
  t.match(text(), /^\[\d{4}-\d\d-\d\dT[\d:.]+Z\] WARN \(mount\): route changed\n/);
  t.match(text(), /ETIMEDOUT/);
});

t.test('the log goes to stderr, also right before the end', async (t) => {
  const module = new URL('../../src/observe/log.ts', import.meta.url).href;
  const script = `const { createLogger } = await import(${JSON.stringify(module)});
    createLogger({ level: 'info', name: 'x' }).fatal('last words'); process.kill(process.pid, 'SIGKILL');`;
  const child = spawnSync(process.execPath, [...process.execArgv, '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  t.equal(child.signal, 'SIGKILL');
  t.equal(child.stdout, '');
  t.match(JSON.parse(child.stderr), { level: 'fatal', msg: 'last words' });
});

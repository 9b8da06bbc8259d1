/** SQLite on a mount, with a rollback journal and with a write-ahead log: transactions, two writers, and one that dies in the middle. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { within } from '../support/mounts.ts';
import { FULL_SIZE, sized } from '../trees/size.ts';
import { onMounts, run, skipWithoutPrograms } from './writable-mount.ts';

const JOURNALS = ['DELETE', 'TRUNCATE', 'PERSIST'];
const ROWS = sized(500, 50_000);
/** Transactions of each of two processes. */
const INCREMENTS = sized(15, 500);
/** How long a connection waits for the other's lock, in milliseconds. */
const BUSY_MS = 60_000;
/** So few pages are kept that a transaction spills into the file before it ends. */
const PAGES_KEPT = 5;

/** Rows that each such transaction adds. */
const ROWS_EACH = 20;

/** A sqlite3 that is asked again and again. */
class SqlProcess {
  readonly #child;
  readonly #lines;

  constructor(t: Test, database: string) {
    this.#child = spawn('sqlite3', ['-bail', '-cmd', `.timeout ${BUSY_MS}`, database], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    t.teardown(() => this.#child.kill('SIGKILL'));
  }

  /** The one line that statements print; undefined when it has ended. */
  async ask(statements: string): Promise<string | undefined> {
    this.#child.stdin.write(`${statements}\n`);
    const line = await within(this.#lines.next(), BUSY_MS, () => `no answer to ${statements}`);
    return line.done === true ? undefined : line.value;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
  }
}

const rows = (count: number) =>
  `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
   INSERT INTO t(v, w) SELECT hex(randomblob(50)), i FROM n;`;

onMounts(t, 'SQLite', skipWithoutPrograms({ sqlite3: 'sqlite3' }), async (t, { point, disk }) => {
  for (const journal of JOURNALS) {
    const name = `${journal}.db`;
    const sql = (t: Test, where: string, text: string) =>
      run(t, where, [
        'sqlite3',
        '-bail',
        '-cmd',
        `.timeout ${BUSY_MS}`,
        name,
        `PRAGMA synchronous=FULL; ${text}`,
      ]);
    await t.test(journal, async (t) => {
      const setting = `PRAGMA journal_mode=${journal};`;
      t.equal(
        await sql(
          t,
          point,
          `${setting} CREATE TABLE t(v, w); CREATE INDEX i ON t(v); CREATE TABLE c(n); INSERT INTO c VALUES(0);
           BEGIN; ${rows(ROWS)} COMMIT; BEGIN; ${rows(ROWS)} ROLLBACK; SELECT count(*) FROM t; VACUUM;`,
        ),
        `${journal.toLowerCase()}\n${ROWS}\n`,
      );
      t.equal(await sql(t, point, 'PRAGMA integrity_check;'), 'ok\n');

      const increments = `${setting} ${'BEGIN IMMEDIATE; UPDATE c SET n = n + 1; COMMIT; '.repeat(INCREMENTS)}`;
      await Promise.all([sql(t, point, increments), sql(t, point, increments)]);
      t.equal(await sql(t, point, 'SELECT n FROM c;'), `${2 * INCREMENTS}\n`, 'no update was lost');

      const dying = spawn('sqlite3', [join(point, name)], { stdio: ['pipe', 'pipe', 'inherit'] });
      t.teardown(() => dying.kill('SIGKILL'));
      dying.stdin.write(
        `PRAGMA journal_mode=${journal}; PRAGMA cache_size=${PAGES_KEPT}; BEGIN; ${rows(ROWS)}
         UPDATE t SET v = 'changed'; SELECT 'in the middle';\n`,
      );
      let output = '';
      for await (const text of dying.stdout.setEncoding('utf8')) {
        output += text as string;
        if (output.includes('in the middle')) break;
      }
      t.match(output, 'in the middle');
      dying.kill('SIGKILL');
      if (dying.exitCode === null && dying.signalCode === null) await once(dying, 'exit');
      t.equal(
        await sql(
          t,
          point,
          `SELECT count(*) FROM t; SELECT count(*) FROM t WHERE v = 'changed'; PRAGMA integrity_check;`,
        ),
        `${ROWS}\n0\nok\n`,
        'its transaction was rolled back',
      );
      t.equal(
        await sql(t, disk, `SELECT count(*) FROM t; SELECT n FROM c; PRAGMA integrity_check;`),
        `${ROWS}\n${2 * INCREMENTS}\nok\n`,
        'on the server too',
      );
    });
  }
});

/**
 * The log's index is a file that all writers map: their kernel is one, so they share its pages. Two writers, a reader that
 * sees one state for as long as it likes, and one writer that dies with its transaction in the log.
 */
onMounts(
  t,
  'SQLite with a write-ahead log',
  skipWithoutPrograms({ sqlite3: 'sqlite3' }),
  async (t, { point, disk }) => {
    const sql = (where: string, text: string) =>
      run(t, where, ['sqlite3', '-bail', '-cmd', `.timeout ${BUSY_MS}`, 'wal.db', text]);
    t.equal(
      await sql(
        point,
        'PRAGMA journal_mode=WAL; CREATE TABLE t(v, w); CREATE INDEX i ON t(v); CREATE TABLE c(n); INSERT INTO c VALUES(0);',
      ),
      'wal\n',
    );
    const reader = new SqlProcess(t, join(point, 'wal.db'));
    t.equal(await reader.ask('BEGIN; SELECT n FROM c;'), '0');

    const step = `BEGIN IMMEDIATE; UPDATE c SET n = n + 1; ${rows(ROWS_EACH)} COMMIT; `;
    // Few pages make a checkpoint: many of them while both write.
    const increments = `PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=20; ${step.repeat(INCREMENTS)}`;
    await Promise.all([sql(point, increments), sql(point, increments)]);
    const wanted = `${2 * INCREMENTS}\n${2 * INCREMENTS * ROWS_EACH}\nok\n`;
    const counts = 'SELECT n FROM c; SELECT count(*) FROM t; PRAGMA integrity_check;';
    t.equal(await sql(point, counts), wanted, 'no update was lost');
    t.equal(await reader.ask('SELECT n FROM c;'), '0', 'what a transaction sees stays');
    t.equal(await reader.ask('COMMIT; SELECT n FROM c;'), String(2 * INCREMENTS));

    const dying = new SqlProcess(t, join(point, 'wal.db'));
    t.equal(
      await dying.ask(
        `PRAGMA cache_size=${PAGES_KEPT}; BEGIN; UPDATE t SET v = 'changed'; UPDATE c SET n = -1; SELECT n FROM c;`,
      ),
      '-1',
    );
    await dying.kill();
    t.equal(await reader.ask('SELECT n FROM c;'), String(2 * INCREMENTS));
    t.equal(await sql(point, counts), wanted, 'its transaction never was');
    await reader.kill();
    t.equal(await sql(point, `PRAGMA wal_checkpoint(TRUNCATE); ${counts}`), `0|0|0\n${wanted}`);
    t.equal(await sql(disk, counts), wanted, 'on the server too');
  },
  FULL_SIZE ? ['near', 'near-records', 'network'] : ['near'],
);

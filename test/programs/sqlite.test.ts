/** SQLite with a rollback journal on a mount: transactions, two writers with locks, and one that dies in the middle. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { sized } from '../trees/size.ts';
import { onMounts, run, skipWithoutPrograms } from './writable-mount.ts';

const JOURNALS = ['DELETE', 'TRUNCATE', 'PERSIST'];
const ROWS = sized(500, 50_000);
/** Transactions of each of two processes. */
const INCREMENTS = sized(15, 500);
/** How long a connection waits for the other's lock, in milliseconds. */
const BUSY_MS = 60_000;
/** So few pages are kept that a transaction spills into the file before it ends. */
const PAGES_KEPT = 5;

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

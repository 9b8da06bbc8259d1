/** PostgreSQL on a mount: transactions of several clients, a crash, recovery, and everything checked against everything. */
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { FULL_SIZE, sized } from '../trees/size.ts';
import { DATABASE_USER, Postgres, skipWithoutPostgres } from './postgres.ts';
import { onMounts, skipWithoutPrograms } from './writable-mount.ts';

type Milliseconds = number;

const CLIENTS = 4;
/** 100,000 accounts each. */
const SCALE = sized(1, 5);
/** How long clients work each time, in seconds. */
const WORK_SECONDS = sized(2, 60);
/** Longer than the server lives with those who are at work when it is killed. */
const UNTIL_DEATH_SECONDS = 1_200;
/** How often to look whether they have begun, and how long that may take. */
const LOOK_EVERY: Milliseconds = 100;
const BEGIN_LIMIT: Milliseconds = 60_000;
/** Of their work, when the server is killed. */
const KILL_AFTER: Milliseconds = (WORK_SECONDS * 1_000) / 2;
/** More than are inserted, one by one, until the server dies. */
const INSERTS_MAX = 1_000_000;

/** What every transaction of pgbench leaves equal, and how many there were. */
const SUMS = `SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
  (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history),
  (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)`;
const HISTORY = 'SELECT count(*) FROM pgbench_history';
/** Each in a transaction of its own, whose end psql tells. */
const INSERT_LOOP = `SELECT format('INSERT INTO told VALUES(%s) RETURNING n', n)
  FROM generate_series(1, ${INSERTS_MAX}) n \\gexec\n`;

onMounts(
  t,
  'PostgreSQL',
  skipWithoutPostgres() || skipWithoutPrograms({ setpriv: 'util-linux', ps: 'procps' }),
  async (t, { point, disk, plain }) => {
    const parent = join(disk, 'database');
    mkdirSync(parent);
    chownSync(parent, DATABASE_USER, DATABASE_USER);
    const server = new Postgres(t, plain);
    const data = await server.init(join(point, 'database'));
    await server.start(data);
    await server.sql('CREATE TABLE told(n int)');
    await server.client('pgbench', '--quiet', '-i', '-s', String(SCALE), 'postgres');
    const workFor = (seconds: number) => ['-n', '-c', String(CLIENTS), '-T', String(seconds), 'postgres'];
    const work = workFor(WORK_SECONDS);
    await server.client('pgbench', ...work);
    t.equal(await server.sql(SUMS), 't|t|t\n', 'before the crash');

    const script = join(plain, 'inserts.sql');
    writeFileSync(script, INSERT_LOOP);
    const inserts = ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-f', script];
    const before = Number(await server.sql(HISTORY));
    const clients = [
      server.untilDeath('psql', ...inserts),
      server.untilDeath('pgbench', ...workFor(UNTIL_DEATH_SECONDS)),
    ];
    // The second is inserted after the end of the first was told.
    const begun = `SELECT (SELECT count(*) FROM told) > 1 AND (${HISTORY}) > ${before}`;
    for (let waited = 0; (await server.sql(begun)) !== 't\n'; waited += LOOK_EVERY) {
      if (waited > BEGIN_LIMIT) throw new Error('the clients do nothing');
      await delay(LOOK_EVERY);
    }
    await delay(KILL_AFTER);
    await server.kill();
    const [told = ''] = await Promise.all(clients);
    const lastTold = Number(told.trimEnd().split('\n').at(-1));
    t.ok(lastTold > 0, 'something was told to be committed');

    await server.start(data);
    t.match(server.log, /database system was not properly shut down; automatic recovery in progress/);
    const [count = 0, last = 0] = (await server.sql('SELECT count(*), max(n) FROM told'))
      .split('|')
      .map(Number);
    t.ok(last >= lastTold, `${lastTold} were told to be committed, ${last} are`);
    t.equal(count, last, 'and none is missing');
    t.ok(Number(await server.sql(HISTORY)) > before, 'so are those of the other clients');
    t.equal(await server.sql(SUMS), 't|t|t\n', 'after the crash');
    await server.client('pgbench', ...work);
    t.equal(await server.sql(SUMS), 't|t|t\n', 'afterwards');
    await server.client('pg_amcheck', '--install-missing', '--heapallindexed', '--all');
    const history = await server.sql(HISTORY);
    await server.stop();

    t.comment('on the server it is the same');
    const there = join(parent, 'data');
    await server.checkPages(there);
    await server.start(there);
    t.equal(await server.sql(HISTORY), history);
    await server.client('pg_amcheck', '--heapallindexed', '--all');
    await server.stop();
    t.notMatch(server.log, /PANIC|invalid page|could not (read|write|fsync|open)/);
  },
  FULL_SIZE ? ['near', 'near-records', 'network'] : ['near'],
);

/** One file opened by several users in many orders, ever more of whom may, comes out near as in a plain directory. */
import { randomInt } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { cannotMountHere, runTool, startMount } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { sized } from '../trees/size.ts';
import { makePlaces } from './write-places.ts';

const SCRIPT = fileURLToPath(new URL('./open-orders.py', import.meta.url));
const SEED = Number(process.env.NEARMOUNT_ORDERS_SEED ?? randomInt(2 ** 31));
const ORDERS = sized(25, 1_000);
/** Far above what an order takes. */
const ORDER_LIMIT_MS = 2_000;
const LIMIT_MS = 60_000 + ORDERS * ORDER_LIMIT_MS;

const skip =
  cannotMountHere ||
  (spawnSync('python3', ['--version']).status === 0 ? false : 'needs python3: apt-get install python3');

t.setTimeout(2 * LIMIT_MS);

async function runOrders(directory: string): Promise<string[]> {
  const args = [SCRIPT, directory, String(SEED), String(ORDERS)];
  const { status, signal, stdout, stderr } = await runTool('python3', args, { limitMs: LIMIT_MS });
  return [...stdout.toString().split('\n'), `status ${status ?? signal}`, stderr];
}

t.test(`near, ${ORDERS} orders, seed ${SEED}`, { skip }, async (t) => {
  const { top, tree, plain } = makePlaces(t);
  const trusted = `${tree},squash=none,clients=127.0.0.0/8`;
  const server = await startServer(t, {
    directory: top,
    exports: [`tree=${trusted}`, `pages=${trusted},grants=pages`],
  });
  const wanted = await runOrders(plain);
  t.same(wanted.slice(-2), ['status 0', '']);
  for (const source of ['tree', 'pages']) {
    const mount = await startMount(t, {
      source,
      point: join(top, source),
      table: server.table,
      options: 'rw,route=near',
      limitMs: 2 * LIMIT_MS,
    });
    const got = await runOrders(mount.point);
    const at = wanted.findIndex((line, index) => line !== got[index]);
    // The first difference, with the order it is in.
    const order = wanted.slice(0, at + 1).findLastIndex((line) => / 0 \d+ /.test(line));
    t.same(
      at === -1 ? [] : got.slice(order, at + 1),
      at === -1 ? [] : wanted.slice(order, at + 1),
      `${source}: every step is as in a plain directory; NEARMOUNT_ORDERS_SEED=${SEED}`,
    );
    t.equal(got.length, wanted.length);
    t.notMatch(mount.log(), /"level":"(error|fatal)"/, 'no fault was logged');
    t.same(await mount.stop(), { status: 0, signal: null });
  }
});

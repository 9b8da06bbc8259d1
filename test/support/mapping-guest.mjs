/**
 * A guest that maps a file, says so, and holds its pages until it is killed. The first argument is a SessionTarget
 * as JSON, the second the name of a file in the export's root.
 */
import { Buffer } from 'node:buffer';
import process from 'node:process';
import { setInterval } from 'node:timers';
import { openSession } from '../../dist/client/open-session.js';
import { authSysCredential } from '../../dist/client/credential.js';
import { NFS_PROGRAM } from '../../dist/nfs3/nfs.js';

const [target, name] = process.argv.slice(2);
/** A busy machine may keep the server from answering in time. */
const TRIES = 10;

async function open(tries = 1) {
  try {
    return await openSession(JSON.parse(target));
  } catch (error) {
    if (tries === TRIES) throw error;
    return open(tries + 1);
  }
}

const session = await open();
const caller = { credential: authSysCredential('guest', 1000, 1000, []).auth };
const what = { dir: { data: session.rootHandle }, name: Buffer.from(name) };
const found = await session.call(NFS_PROGRAM, 'LOOKUP', { what }, caller);
const outcome = await session.map(found.object.data, 0n, 8_000_000, caller);
const isMapped = outcome.kind === 'mapped' && outcome.runs.every(({ pages }) => pages.isCurrent());
process.stdout.write(isMapped ? 'holds pages\n' : `${outcome.kind}\n`);
setInterval(() => undefined, 1_000);

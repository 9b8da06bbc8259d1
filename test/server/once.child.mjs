/**
 * A server that is killed in the middle of MKDIR: once.child.mjs DIRECTORY POINT. It reads what earlier ones left there,
 * takes the same call as they did, and prints what it answers, unless it kills itself before. It runs what is built:
 * many of them are started.
 */
import { Buffer } from 'node:buffer';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { NFS_PROGRAM } from '../../dist/nfs3/nfs.js';
import { createLogger } from '../../dist/observe/log.js';
import { Caller } from '../../dist/rpc/caller.js';
import { Dispatcher } from '../../dist/rpc/dispatcher.js';
import { CallLog } from '../../dist/server/call-log.js';
import { ClientSession } from '../../dist/server/client-session.js';
import { ReplyCache } from '../../dist/server/reply-cache.js';
import { parseExportOption } from '../../dist/store/export-options.js';
import { Store } from '../../dist/store/store.js';
import { bootId } from '../../dist/system/process.js';

const [directory = '', killedAt = ''] = process.argv.slice(2);
const effectsFile = path.join(directory, 'effects');
const effects = () => (fs.existsSync(effectsFile) ? fs.readFileSync(effectsFile, 'utf8').length : 0);

function point(name) {
  if (name === killedAt) process.kill(process.pid, 'SIGKILL');
}

function mkdir(_args, { intent }) {
  point('called');
  const before = intent.begin(Buffer.from(String(effects())));
  point('begun');
  // As a procedure looks whether the one before had taken effect.
  const hasHappened = before !== undefined && effects() > Number(Buffer.from(before).toString());
  if (!hasHappened) fs.appendFileSync(effectsFile, '.');
  point('changed');
  const obj = { data: Buffer.from(`directory ${effects()}`) };
  return { status: 0, obj, obj_attributes: null, wcc: { before: null, after: null } };
}

const stateDirectory = path.join(directory, 'state');
const log = createLogger({ level: 'silent', name: 'test' });
const store = Store.open({ stateDirectory, exports: [parseExportOption(`tree=${directory}/tree`)] });
const calls = CallLog.open({ stateDirectory, bootId: bootId(), log });
const dispatcher = new Dispatcher({
  onFailure: (_call, error) => {
    throw error;
  },
  once: new ReplyCache(store, calls).once,
});
dispatcher.register(NFS_PROGRAM, { MKDIR: mkdir });
const session = new ClientSession({ kind: 'tcp', address: '192.0.2.1', port: 700 }, 'tested');
session.clientId = 'client'.padEnd(16);

const caller = new Caller((chunks) => {
  void dispatcher
    .dispatch(chunks, (call) => ({ call, session }))
    .then((reply) => {
      point('answered');
      caller.receive(reply.chunks);
    });
});
const args = {
  where: { dir: { data: store.rootHandle('tree') }, name: Buffer.from('new') },
  attributes: { mode: null, uid: null, gid: null, size: null, atime: { set_it: 0 }, mtime: { set_it: 0 } },
};
const reply = await caller.call(NFS_PROGRAM, 'MKDIR', args, { xid: 7 });
process.stdout.write(JSON.stringify({ answer: Buffer.from(reply.obj.data).toString(), effects: effects() }));
calls.close();
store.close();

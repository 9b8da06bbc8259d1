/**
 * The benchmark itself: the first process of namespaces of its own, so that its mounts, ports and daemons are nobody
 * else's, and end with it. Argument: the settings as JSON.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { Progress } from '../src/cli/demo/progress.ts';
import { processStreams } from '../src/cli/output.ts';
import { mountFileSystem } from '../src/system/mounts.ts';
import { setLoopbackUp } from '../src/system/net.ts';
import { BASE, CONTENDERS } from './contenders/all.ts';
import { bytesOf, makeTree } from './files.ts';
import { isSound, type Findings } from './findings.ts';
import { describeMachine } from './machine.ts';
import { writeMarkdown } from './markdown.ts';
import { describeFindings, printFindings } from './report.ts';
import { Rounds } from './rounds.ts';
import { settingsDocument } from './settings.ts';

const INTERRUPTED_STATUS = 130;

const settings = settingsDocument.parse(JSON.parse(process.argv[2] ?? ''));
const { workDirectory } = settings;
const interruption = new AbortController();
const { signal } = interruption;
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interruption.abort());
// Standard input is the lifeline: it ends with the outer process, however that ends.
process.stdin.on('close', () => interruption.abort());
process.stdin.resume().unref();

const startedMs = performance.now();
const progress = new Progress(false);
const source = `${workDirectory}/data`;
let rounds: Rounds | undefined;
try {
  setLoopbackUp();
  // Daemons put sockets and process ids there: not into the machine's own.
  mountFileSystem({ source: 'nearmount-bench', target: '/run', type: 'tmpfs' });
  mkdirSync(source);
  const machine = describeMachine(workDirectory);
  const tree = await makeTree(source, settings, signal, progress.phase('making files', bytesOf(settings)));
  rounds = new Rounds({ workDirectory, tree, settings, signal, progress });
  const chosen = CONTENDERS.filter(
    (contender) => contender === BASE || settings.only.length === 0 || settings.only.includes(contender.name),
  );
  const outcome = await rounds.run(chosen);
  progress.complete();
  const findings: Findings = {
    ...outcome,
    machine,
    settings,
    date: new Date(),
    seconds: (performance.now() - startedMs) / 1000,
  };
  printFindings(processStreams, findings);
  if (settings.json !== undefined) {
    writeFileSync(settings.json, `${JSON.stringify(describeFindings(findings), null, 2)}\n`);
  }
  if (settings.markdown !== undefined) writeFileSync(settings.markdown, writeMarkdown(findings));
  process.exitCode = isSound(findings) ? 0 : 1;
} catch (error) {
  if (!signal.aborted) throw error;
  process.exitCode = INTERRUPTED_STATUS;
} finally {
  progress.abandon();
  await rounds?.end();
}
// What is left of the contenders goes with this process: it is the first of its namespace.
process.exit();

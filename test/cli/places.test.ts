/** Where mounts log when nobody says where. */
import t from 'tap';
import { defaultLogFile } from '../../src/cli/places.ts';
import { notForOtherUsers, runTool } from '../support/mounts.ts';

const notRoot = process.geteuid?.() !== 0;

t.test('root logs in the system’s directory', { skip: notRoot && 'needs root' }, async (t) => {
  t.equal(defaultLogFile({ XDG_STATE_HOME: '/nowhere' }), '/var/log/nearmount.log');
});

t.test('users log in their own', { skip: !notRoot && notForOtherUsers }, async (t) => {
  const source = new URL('../../dist/cli/places.js', import.meta.url).href;
  const script = `import(${JSON.stringify(source)}).then(({ defaultLogFile }) => console.log(defaultLogFile()))`;
  const asUser = async (...environment: string[]): Promise<string> => {
    const as = notRoot
      ? []
      : ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--reuid', '65534', '--clear-groups'];
    const clean = [
      'env',
      '-u',
      'NODE_OPTIONS',
      '-u',
      'XDG_STATE_HOME',
      '-u',
      'NEARMOUNT_RUNTIME_DIR',
      ...environment,
    ];
    const [program, ...args] = [...as, ...clean, process.execPath, '-e', script];
    const { stdout, stderr } = await runTool(program, args);
    t.equal(stderr, '');
    return stdout.toString().trim();
  };
  t.equal(await asUser('XDG_STATE_HOME=/state'), '/state/nearmount.log');
  t.equal(await asUser('HOME=/tmp'), '/tmp/.local/state/nearmount.log');
  t.equal(await asUser('HOME=/nonexistent', 'XDG_RUNTIME_DIR=/own'), '/own/nearmount/nearmount.log');
});

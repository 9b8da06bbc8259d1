import t from 'tap';
import { hasCapability } from '../../src/system/capabilities.ts';
import { runAs, becomeServer, canSwitchIdentity } from '../../src/system/identity.ts';
import { runChild } from './child.ts';

const skip = !(hasCapability('CAP_SETPCAP') && hasCapability('CAP_MKNOD')) && 'needs root';

t.test('what is dropped is gone, for started programs too', { skip }, async (t) => {
  t.same(runChild([], './capabilities.child.ts'), {
    before: true,
    after: false,
    child: false,
    high: false,
    others: true,
    canSwitch: false,
    self: 'done',
    other: 'EPERM',
  });
});

t.test('a foreign identity takes the file capabilities away', { skip: !canSwitchIdentity() }, async (t) => {
  const nobody = { uid: 65534, gid: 65534, groups: [] };
  t.equal(hasCapability('CAP_DAC_OVERRIDE'), true);
  t.equal(
    runAs(nobody, () => hasCapability('CAP_DAC_OVERRIDE')),
    false,
  );
  t.equal(
    runAs(nobody, () => hasCapability('CAP_SETUID')),
    true,
  );
  becomeServer();
  t.equal(hasCapability('CAP_DAC_OVERRIDE'), true);
});

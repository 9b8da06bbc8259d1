import t from 'tap';
import { DEFAULT_ATTRIBUTE_TIMES } from '../../src/gateway/attribute-times.ts';
import { attributesOfFattr3 } from '../../src/gateway/attributes.ts';
import { InodeTable } from '../../src/gateway/inodes.ts';
import { RecentNames } from '../../src/gateway/recent-names.ts';
import { ATTRIBUTES } from '../client/scripted-server.ts';

const attributes = attributesOfFattr3(ATTRIBUTES);
const name = (text: string): Buffer => Buffer.from(text);

t.test('the last names are known, with inodes that are', async (t) => {
  const inodes = new InodeTable(Buffer.from('root'), attributes, DEFAULT_ATTRIBUTE_TIMES);
  const root = inodes.get(1n)!;
  const file = inodes.intern(Buffer.from('file'), attributes);
  file.lookups = 1n;
  const recent = new RecentNames(inodes, 4);
  recent.note(root, name('a'), file);
  t.equal(recent.find(root, name('a')), file);
  t.equal(recent.find(file, name('a')), undefined, 'in another directory');
  for (const text of ['b', 'c', 'd']) recent.note(root, name(text), file);
  t.equal(recent.find(root, name('c')), file);
  recent.note(root, name('e'), file);
  t.equal(recent.find(root, name('a')), undefined, 'old ones go');
  t.equal(recent.find(root, name('d')), file);
  recent.delete(root, name('d'));
  t.equal(recent.find(root, name('d')), undefined);
  recent.note(root, name('f'), file);
  inodes.forget(file.nodeId, 1n);
  t.equal(recent.find(root, name('f')), undefined, 'an inode that is gone');
  recent.note(root, name('g'), root);
  recent.clear();
  t.equal(recent.find(root, name('g')), undefined);
});

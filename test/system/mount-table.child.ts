import { mountAt } from '../../src/system/mount-table.ts';
import { mountFileSystem } from '../../src/system/mounts.ts';

const place = process.argv[2] as string;
mountFileSystem({ source: 'below', target: place, type: 'tmpfs', data: 'size=1m' });
mountFileSystem({ source: 'on top of it', target: place, type: 'tmpfs', data: 'size=1m' });
console.log(JSON.stringify(mountAt(place)));

/** Reads all of a database, read-only, and prints a digest of it. Arguments: the file, and `locks` or `mmap`. */
import { createHash } from 'node:crypto';
import Database from 'better-sqlite3';

const [file, how] = process.argv.slice(2);
const database = new Database(file, { readonly: true });
if (how === 'mmap') database.pragma('mmap_size = 268435456');
const hash = createHash('sha256');
for (const row of database.prepare('SELECT * FROM pairs ORDER BY value').iterate()) {
  hash.update(`${row.key}${row.value}`);
}
process.stdout.write(`${database.pragma('integrity_check', { simple: true })} ${hash.digest('hex')}`);
database.close();

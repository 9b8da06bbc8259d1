// Run by table.test.ts in a process of its own: reads the table of its argument, tries to change it, and prints both.
import { TableError } from '../../src/resolver/table-error.ts';
import { ColocationTable } from '../../src/resolver/table.ts';

const file = process.argv[2] ?? '';

function outcome(): object {
  try {
    using reader = ColocationTable.open(file, { readOnly: true });
    const server = reader.find('doc')?.server.name;
    using writer = ColocationTable.open(file);
    try {
      writer.removeExport('doc');
      return { server };
    } catch (error) {
      if (!(error instanceof TableError)) throw error;
      return { server, refusal: error.code };
    }
  } catch (error) {
    if (!(error instanceof TableError)) throw error;
    return { failure: error.message };
  }
}

process.stdout.write(JSON.stringify(outcome()));

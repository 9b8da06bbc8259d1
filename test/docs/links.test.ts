/** Links between the documents lead somewhere. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = new URL('../../', import.meta.url);

/** As GitHub makes them: lower case, spaces to dashes, without other signs. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

const documents = [
  'README.md',
  ...readdirSync(new URL('docs/', ROOT))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

for (const name of documents) {
  t.test(name, (t) => {
    const here = new URL(name, ROOT);
    const links = [...readFileSync(here, 'utf8').matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
    for (const link of links.filter((each) => !/^[a-z]+:/.test(each))) {
      const target = new URL(link, here);
      const anchor = target.hash.slice(1);
      target.hash = '';
      const isThere = existsSync(fileURLToPath(target));
      t.ok(isThere, `${link} leads somewhere`);
      if (isThere && anchor !== '')
        t.ok(anchorsOf(readFileSync(target, 'utf8')).includes(anchor), `${link} has its heading`);
    }
    t.end();
  });
}

t.ok(documents.length > 5);

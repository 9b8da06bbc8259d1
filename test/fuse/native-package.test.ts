/** What is said when fuse-native cannot be loaded: Node's and the loader's own errors. */
import t from 'tap';
import { explainLoading } from '../../src/fuse/native-package.ts';

t.test('each reason has its remedy, in one line', async (t) => {
  const errors: readonly (readonly [string, Error, RegExp])[] = [
    [
      'no package',
      Object.assign(new Error("Cannot find package 'fuse-native'"), { code: 'ERR_MODULE_NOT_FOUND' }),
      /npm install fuse-native/,
    ],
    [
      'no libfuse',
      Object.assign(new Error('libfuse.so.2: cannot open shared object file: No such file or directory'), {
        code: 'ERR_DLOPEN_FAILED',
      }),
      /libfuse\.so\.2: cannot open.*install the package libfuse2/,
    ],
    [
      'no addon',
      new Error('No native build was found for platform=linux arch=arm64\n  loaded from'),
      /npm rebuild/,
    ],
    ['anything else', new Error('wrong ELF class'), /wrong ELF class/],
  ];
  for (const [what, error, message] of errors) {
    const line = explainLoading(error);
    t.match(line, message, what);
    t.match(line, /driver=kernel$/, what);
    t.notMatch(line, '\n', what);
  }
});

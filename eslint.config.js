import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

export default defineConfig(
  globalIgnores(['dist/', '.tap/', '.bench/', 'node_modules/', 'coverage/']),
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: { eqeqeq: ['error', 'always'] },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      // A promise nobody waits for is a system call of the guest that never returns.
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      // Totality: a union with a new member must not fall through a switch unseen.
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      // Sizes, offsets and status codes (number and bigint) are what messages of this code are made of.
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      // `() => stop()` as a listener is clearer than a block.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // Event loops read `while (true)`.
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      // It asks for `x!`, which no-non-null-assertion forbids: an index checked before is written `as T`.
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      // The same mark as tsc's noUnusedParameters: a leading underscore says "on purpose".
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // No naming rule: protocol folders spell as the RFCs and the kernel do (READ3args, fuse_init_out).
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // tap awaits its own subtests: `t.test(...)` without await is its idiom.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', package: '@tapjs/core', name: 'test' },
            { from: 'package', package: '@tapjs/test', name: 'test' },
          ],
        },
      ],
      // Subtests are async functions so that they end by themselves, awaiting or not.
      '@typescript-eslint/require-await': 'off',
      // Under noUncheckedIndexedAccess `rows[0]!` is an assertion: undefined fails the test with a TypeError.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-empty-function': ['error', { allow: ['arrowFunctions'] }],
    },
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    languageOptions: {
      globals: {
        console: 'readonly',
        process: 'readonly',
        setTimeout: 'readonly',
        clearTimeout: 'readonly',
        URL: 'readonly',
      },
    },
  },
);

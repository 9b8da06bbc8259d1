import type { CallContext, Operations } from '../../src/gateway/operations.ts';

export const CONTEXT: CallContext = { uid: 7, gid: 8, pid: 9, signal: new AbortController().signal };

/** Operations of which only `some` may be called; any other call fails the test that makes it. */
export function fakeOperations(some: Partial<Operations>): Operations {
  const target: Partial<Operations> = {
    sharesLocks: false,
    init: () => undefined,
    destroy: () => undefined,
    ...some,
  };
  return new Proxy(target, {
    get: (operations, name) => {
      const found: unknown = Reflect.get(operations, name);
      if (found === undefined) throw new Error(`unexpected call of ${String(name)}`);
      return found;
    },
  }) as Operations;
}

import t from 'tap';
import { authSys, type opaque_auth } from '../../src/rpc/auth.ts';
import { Dispatcher, type CallInfo, type Reply, type TakeOnce } from '../../src/rpc/dispatcher.ts';
import type { Handlers } from '../../src/rpc/program.ts';
import { SAMPLE_PROGRAM, type SampleProcedures } from './sample-program.ts';

type SampleHandlers = Handlers<SampleProcedures, CallInfo>;

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const word = (value: number): string => value.toString(16).padStart(8, '0');
const NO_AUTH = '00000000 00000000';
const XID = 'deadbeef';

interface Header {
  rpcvers?: number;
  prog?: number;
  vers?: number;
  proc?: number;
  cred?: string;
}

/** A CALL by hand: RFC 5531 section 9. */
function call(
  { rpcvers = 2, prog = SAMPLE_PROGRAM.number, vers = 2, proc = 1, cred = NO_AUTH }: Header,
  args = '',
): Buffer {
  return hex(
    `${XID} 00000000 ${word(rpcvers)} ${word(prog)} ${word(vers)} ${word(proc)} ${cred} ${NO_AUTH} ${args}`,
  );
}

const authHex = ({ flavor, body }: opaque_auth): string =>
  word(flavor) + word(body.length) + Buffer.from(body).toString('hex');

interface Setup {
  readonly dispatcher: Dispatcher<CallInfo>;
  readonly failures: { procedure: string; error: unknown }[];
  readonly answered: string[];
  readonly dispatch: (record: Buffer) => Promise<Reply | undefined>;
  readonly answer: (record: Buffer) => Promise<string>;
}

function setup(handlers: Partial<SampleHandlers> = {}): Setup {
  const failures: Setup['failures'] = [];
  const answered: string[] = [];
  const dispatcher = new Dispatcher<CallInfo>({
    onFailure: (info, error) => failures.push({ procedure: info.procedure, error }),
    onCall: (info) => answered.push(info.procedure),
  });
  dispatcher.register(SAMPLE_PROGRAM, {
    NULL: () => undefined,
    ADD: ({ a, b }) => ({ sum: a + b }),
    ECHO: (data) => data,
    ...handlers,
  });
  const dispatch = (record: Buffer): Promise<Reply | undefined> =>
    dispatcher.dispatch([record], (info) => info);
  const answer = async (record: Buffer): Promise<string> => {
    const reply = await dispatch(record);
    if (reply === undefined) throw new Error('no answer');
    return Buffer.concat(reply.chunks).toString('hex');
  };
  return { dispatcher, failures, answered, dispatch, answer };
}

const accepted = (rest: string): string => hex(`${XID} 00000001 00000000 ${NO_AUTH} ${rest}`).toString('hex');
const denied = (rest: string): string => hex(`${XID} 00000001 00000001 ${rest}`).toString('hex');

t.test('SUCCESS with the result', async (t) => {
  const { answer, answered } = setup();
  t.equal(await answer(call({}, '00000002 00000003')), accepted('00000000 00000005'));
  t.equal(await answer(call({ proc: 0 })), accepted('00000000'));
  t.equal(await answer(call({ proc: 4 }, '00000003 61626300')), accepted('00000000 00000003 61626300'));
  t.strictSame(answered, ['ADD', 'NULL', 'ECHO']);
});

t.test('a call in one-byte chunks', async (t) => {
  const { dispatcher } = setup();
  const pieces = Array.from(call({}, '00000002 00000003'), (byte) => Uint8Array.of(byte));
  const reply = await dispatcher.dispatch(pieces, (info) => info);
  t.equal(Buffer.concat(reply!.chunks).toString('hex'), accepted('00000000 00000005'));
});

t.test('PROG_UNAVAIL', async (t) => {
  t.equal(await setup().answer(call({ prog: 100003 })), accepted('00000001'));
});

t.test('PROG_MISMATCH gives the lowest and the highest version', async (t) => {
  const { dispatcher, answer } = setup();
  t.equal(await answer(call({ vers: 1 })), accepted('00000002 00000002 00000002'));
  for (const version of [7, 4]) {
    dispatcher.register(
      { ...SAMPLE_PROGRAM, version },
      { NULL: () => undefined, ADD: () => ({ sum: version }), ECHO: (data) => data },
    );
  }
  t.equal(await answer(call({ vers: 3 })), accepted('00000002 00000002 00000007'));
  t.equal(await answer(call({ vers: 7 }, '00000000 00000000')), accepted('00000000 00000007'));
});

t.test('PROC_UNAVAIL', async (t) => {
  for (const proc of [2, 3, 5, 0xffffffff])
    t.equal(await setup().answer(call({ proc })), accepted('00000003'));
});

t.test('GARBAGE_ARGS for arguments cut anywhere, too long, or not allowed', async (t) => {
  const { answer, answered, failures } = setup();
  const args = '0000000200000003';
  for (let length = 0; length < args.length; length += 2) {
    t.equal(await answer(call({}, args.slice(0, length))), accepted('00000004'), `${length / 2} bytes`);
  }
  t.equal(await answer(call({}, `${args} 00`)), accepted('00000004'));
  t.equal(await answer(call({}, `${args} 00000000`)), accepted('00000004'));
  t.equal(await answer(call({ proc: 0 }, '00000000')), accepted('00000004'));
  t.equal(await answer(call({ proc: 4 }, 'ffffffff 61626300')), accepted('00000004'));
  t.strictSame([answered, failures], [[], []]);
});

t.test('RPC_MISMATCH, even where the rest has another shape', async (t) => {
  const { answer } = setup();
  for (const rpcvers of [0, 1, 3, 0xffffffff]) {
    t.equal(await answer(call({ rpcvers })), denied('00000000 00000002 00000002'));
  }
  t.equal(await answer(hex(`${XID} 00000000 00000003`)), denied('00000000 00000002 00000002'));
});

t.test('AUTH_ERROR for a flavor not spoken and for a broken AUTH_SYS', async (t) => {
  const { answer } = setup();
  const badCredential = denied('00000001 00000001');
  t.equal(await answer(call({ cred: '00000006 00000000' }, '00000002 00000003')), badCredential);
  const { body } = authSys('guest', 1, 2, [3]);
  for (let length = 0; length < body.length; length += 4) {
    const cred = authHex({ flavor: 1, body: body.subarray(0, length) });
    t.equal(await answer(call({ cred }, '00000002 00000003')), badCredential, `${length} bytes`);
  }
});

t.test('the handler learns who calls', async (t) => {
  const seen: CallInfo[] = [];
  const { answer } = setup({
    NULL: (_args, info) => {
      seen.push(info);
    },
  });
  await answer(call({ proc: 0, cred: authHex(authSys('guest', 1000, 100, [4])) }));
  await answer(call({ proc: 0 }));
  t.match(seen[0], {
    xid: 0xdeadbeef,
    program: 'SAMPLE',
    procedure: 'NULL',
    credential: { flavor: 'sys', uid: 1000, gid: 100, groups: [4] },
  });
  t.strictSame(seen[1]!.credential, { flavor: 'none' });
});

t.test('SYSTEM_ERR when a handler fails, and the hook gets the reason', async (t) => {
  const boom = new Error('boom');
  const cases: Partial<SampleHandlers>[] = [
    {
      ADD: () => {
        throw boom;
      },
    },
    { ADD: () => Promise.reject(boom) },
  ];
  for (const handlers of cases) {
    const { answer, failures, answered } = setup(handlers);
    t.equal(await answer(call({}, '00000002 00000003')), accepted('00000005'));
    t.strictSame(failures, [{ procedure: 'ADD', error: boom }]);
    t.strictSame(answered, []);
  }
  const { answer, failures } = setup();
  t.equal(await answer(call({}, 'ffffffff 00000001')), accepted('00000005'), 'a result that does not fit');
  t.match(failures, [{ procedure: 'ADD', error: { name: 'XdrError', code: 'RANGE' } }]);
});

t.test('a context that cannot be made is SYSTEM_ERR too', async (t) => {
  const { dispatcher, failures } = setup();
  const reply = await dispatcher.dispatch([call({ proc: 0 })], () => {
    throw new Error('no context');
  });
  t.equal(Buffer.concat(reply!.chunks).toString('hex'), accepted('00000005'));
  t.equal(failures.length, 1);
});

t.test('afterReply runs once: with the release of a reply, or when the handler fails', async (t) => {
  let runs = 0;
  const good = setup({
    ADD: ({ a, b }, info) => {
      info.afterReply(() => (runs += 1));
      info.afterReply(() => (runs += 10));
      return { sum: a + b };
    },
  });
  const reply = await good.dispatch(call({}, '00000002 00000003'));
  t.equal(runs, 0, 'not before the reply is sent');
  reply!.release();
  t.equal(runs, 11);
  reply!.release();
  t.equal(runs, 11);

  runs = 0;
  const bad = setup({
    ADD: (_args, info) => {
      info.afterReply(() => (runs += 1));
      throw new Error('boom');
    },
  });
  const failed = await bad.dispatch(call({}, '00000002 00000003'));
  t.equal(runs, 1);
  failed!.release();
  t.equal(runs, 1);
});

t.test('what is no call, or has no whole header, is not answered', async (t) => {
  const { dispatch } = setup();
  const whole = call({ proc: 0 });
  t.equal(await dispatch(hex(`${XID} 00000001 00000000`)), undefined, 'a reply');
  t.equal(await dispatch(hex(`${XID} 00000002`)), undefined, 'no message type');
  for (let length = 0; length < whole.length; length += 1) {
    t.equal(await dispatch(whole.subarray(0, length)), undefined, `${length} bytes`);
  }
  t.equal(
    await dispatch(call({ cred: `00000000 00000194 ${'00'.repeat(404)}` })),
    undefined,
    'credential over 400',
  );
});

t.test('a call that is not idempotent goes through `once`, the others do not', async (t) => {
  const seen: unknown[] = [];
  const given: unknown[] = [];
  const once: TakeOnce<CallInfo> = (seenCall, context, execute) => {
    const { info, program, version, procedure, args } = seenCall;
    seen.push([info.xid, program, version, procedure, Buffer.concat(args).toString('hex')]);
    const executed = execute({ ...context, procedure: 'with more' });
    if (executed instanceof Promise) throw new Error('the handler gave no promise');
    t.same(executed.result, Buffer.from('abc'));
    return executed.body;
  };
  const dispatcher = new Dispatcher<CallInfo>({ onFailure: () => t.fail('failed'), once });
  dispatcher.register(SAMPLE_PROGRAM, {
    NULL: () => undefined,
    ADD: ({ a, b }) => ({ sum: a + b }),
    ECHO: (data, context) => {
      given.push(context.procedure);
      return data;
    },
  });
  const answer = async (record: Buffer): Promise<string> => {
    const reply = await dispatcher.dispatch([record], (info) => info);
    return Buffer.concat(reply!.chunks).toString('hex');
  };
  t.equal(await answer(call({}, '00000002 00000003')), accepted('00000000 00000005'));
  t.strictSame(seen, []);
  t.equal(await answer(call({ proc: 4 }, '00000003 61626300')), accepted('00000000 00000003 61626300'));
  t.strictSame(seen, [[0xdeadbeef, SAMPLE_PROGRAM.number, 2, 4, '0000000361626300']]);
  t.strictSame(given, ['with more'], 'the context is the hook’s');
  t.equal(await answer(call({ proc: 4 }, 'ffffffff')), accepted('00000004'), 'GARBAGE_ARGS come not so far');
  t.equal(seen.length, 1);
});

t.test('what `once` gives is sent, also without the handler, and its failure is SYSTEM_ERR', async (t) => {
  const body = Buffer.from('0000000161000000', 'hex');
  const outcomes: (() => ReturnType<TakeOnce<CallInfo>>)[] = [
    () => [body],
    () => Promise.resolve([body.subarray(0, 4), body.subarray(4)]),
    () => Promise.reject(new Error('later')),
    () => {
      throw new Error('at once');
    },
  ];
  const failures: unknown[] = [];
  const dispatcher = new Dispatcher<CallInfo>({
    onFailure: (_info, error) => failures.push((error as Error).message),
    once: () => outcomes.shift()!(),
  });
  const notCalled = (): never => {
    throw new Error('a handler was called');
  };
  dispatcher.register(SAMPLE_PROGRAM, { NULL: notCalled, ADD: notCalled, ECHO: notCalled });
  let released = 0;
  const answers: string[] = [];
  while (outcomes.length > 0) {
    const reply = await dispatcher.dispatch([call({ proc: 4 }, '00000000')], (info) => {
      info.afterReply(() => (released += 1));
      return info;
    });
    answers.push(Buffer.concat(reply!.chunks).toString('hex'));
    reply!.release();
  }
  const good = accepted(`00000000 ${body.toString('hex')}`);
  t.strictSame(answers, [good, good, accepted('00000005'), accepted('00000005')]);
  t.strictSame(failures, ['later', 'at once']);
  t.equal(released, 4);
});

t.test('a handler that gives a promise is waited for by `once`', async (t) => {
  const dispatcher = new Dispatcher<CallInfo>({
    onFailure: () => undefined,
    once: async (_call, context, execute) => {
      const executed = execute(context);
      t.ok(executed instanceof Promise);
      return (await executed).body;
    },
  });
  dispatcher.register(SAMPLE_PROGRAM, {
    NULL: () => undefined,
    ADD: ({ a, b }) => ({ sum: a + b }),
    ECHO: (data) => Promise.resolve(data),
  });
  const reply = await dispatcher.dispatch([call({ proc: 4 }, '00000003 61626300')], (info) => info);
  t.equal(Buffer.concat(reply!.chunks).toString('hex'), accepted('00000000 00000003 61626300'));
});

import t from 'tap';
import { errnoOfRpcError } from '../../src/client/errno.ts';
import { RpcError } from '../../src/rpc/error.ts';

t.test('what programs see of a call without result', async (t) => {
  t.equal(errnoOfRpcError(new RpcError('TIMED_OUT', '')), 5, 'soft: EIO');
  t.equal(errnoOfRpcError(new RpcError('TIMED_OUT', ''), 110), 110, 'softerr: ETIMEDOUT');
  t.equal(errnoOfRpcError(new RpcError('ABORTED', ''), 110), 4, 'EINTR for who gave up');
  t.equal(errnoOfRpcError(new RpcError('BAD_REPLY', ''), 110), 5);
  t.equal(errnoOfRpcError(new Error('ours')), undefined);
});

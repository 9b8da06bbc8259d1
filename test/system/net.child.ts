import net from 'node:net';
import { setLoopbackUp } from '../../src/system/net.ts';

function connectHere(): Promise<string> {
  return new Promise((resolve) => {
    const server = net.createServer((socket) => socket.end());
    server.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      const done = (result: string) => {
        server.close();
        resolve(result);
      };
      const client = net.connect(port, '127.0.0.1', () => {
        client.destroy();
        done('connected');
      });
      client.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? 'error'));
    });
  });
}

const before = await connectHere();
setLoopbackUp();
console.log(JSON.stringify({ before, after: await connectHere() }));

import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import { connectToTemporal } from '../src/temporal-connection.js';

/** Passes connections on to Temporal until it is cut; counts them. */
async function relayTo(target: string) {
  const [host = '', port = ''] = target.split(':');
  const sockets = new Set<Socket>();
  let isCut = false;
  let refused = 0;
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    if (isCut) {
      refused += 1;
      socket.destroy();
      return;
    }
    const onward = connect(Number(port), host);
    onward.on('error', () => undefined);
    sockets.add(socket).add(onward);
    socket.pipe(onward).pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    refused: () => refused,
    cut() {
      isCut = true;
      for (const socket of sockets) socket.destroy();
    },
  };
}

it('closes while a call is tried again, and the call ends', async () => {
  const address = process.env['TEMPORAL_ADDRESS'];
  if (address === undefined) throw new Error('TEMPORAL_ADDRESS is not set: run the tests with npm test');
  const relay = await relayTo(address);
  const { connection, close } = await connectToTemporal({ address: relay.address });
  await connection.workflowService.describeNamespace({ namespace: 'default' });
  relay.cut();
  const call = connection.workflowService.describeNamespace({ namespace: 'default' });
  const ended = vi.fn();
  call.then(ended, ended);
  await vi.waitFor(
    () => {
      expect(relay.refused()).toBeGreaterThan(0);
    },
    { timeout: 10_000, interval: 20 },
  );
  expect(ended).not.toHaveBeenCalled();
  await close();
  await expect(call).rejects.toThrow();
});

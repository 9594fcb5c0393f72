import { expect, it, onTestFinished, vi } from 'vitest';
import { TcpProxy } from '../packages/kafka-bridge/test/tcp-proxy.js';
import { connectToTemporal } from '../src/temporal-connection.js';

it('closes while a call is tried again, and the call ends', async () => {
  const address = process.env['TEMPORAL_ADDRESS'];
  if (address === undefined) throw new Error('TEMPORAL_ADDRESS is not set: run the tests with npm test');
  const link = await TcpProxy.to(address);
  onTestFinished(() => link.close());
  const { connection, close } = await connectToTemporal({ address: link.address });
  await connection.workflowService.describeNamespace({ namespace: 'default' });
  link.cut();
  const call = connection.workflowService.describeNamespace({ namespace: 'default' });
  const ended = vi.fn();
  call.then(ended, ended);
  await vi.waitFor(
    () => {
      expect(link.refused).toBeGreaterThan(0);
    },
    { timeout: 10_000, interval: 20 },
  );
  expect(ended).not.toHaveBeenCalled();
  await close();
  await expect(call).rejects.toThrow();
});

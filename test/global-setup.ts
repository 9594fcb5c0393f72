import { Progress, type Log } from '../engines/fetch/progress.js';
import { findTemporalCli } from '../engines/find/temporal-cli.js';
import { findTestServer } from '../engines/find/test-server.js';
import { startEngines } from '../engines/start-engines.js';

const log: Log = (line) => {
  process.stderr.write(`[engines] ${line}\n`);
};

/**
 * One Kafka and one Temporal for the whole test run, and the path of the time-skipping test server, in the environment
 * of every test file: KAFKA_BROKERS, TEMPORAL_ADDRESS, TEMPORAL_CLI, TEMPORAL_TEST_SERVER. What the environment
 * already gives is used as it is.
 */
export default async function setup(): Promise<() => Promise<void>> {
  const testServer = await findTestServer(new Progress(log));
  const engines = await startEngines({ want: ['temporal', 'kafka'], log });
  Object.assign(process.env, engines.env);
  process.env.TEMPORAL_CLI = await findTemporalCli(new Progress(log));
  process.env.TEMPORAL_TEST_SERVER = testServer;
  return () => engines.stop();
}

import { TestWorkflowEnvironment } from '@temporalio/testing';

/**
 * Starts a time-skipping server. The client gives it five seconds to answer, which a busy machine does not always make.
 * So it is tried more than once, and where the server runs on Java, that one is told to start fast.
 *
 * @param path of the server, as `findTestServer` finds it.
 */
export async function startTestServer(path: string, attempts = 30): Promise<TestWorkflowEnvironment> {
  process.env['JAVA_TOOL_OPTIONS'] ??= '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC';
  try {
    return await TestWorkflowEnvironment.createTimeSkipping({
      server: { executable: { type: 'existing-path', path } },
    });
  } catch (error) {
    if (attempts <= 1) throw error;
    return await startTestServer(path, attempts - 1);
  }
}

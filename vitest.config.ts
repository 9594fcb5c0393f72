import { defineConfig } from 'vitest/config';

/**
 * Tests that depend on no lease, clock or rate of this machine, and pass on a busy one, too: the workflow's are on the
 * skipped clock, or have many times the time that they need. Three files at a time: for the most part they wait for brokers and servers.
 */
const sideBySide = [
  'packages/kafka-bridge/test/{audit,cli,offset,offsets,check-owlmq}-*.test.ts',
  'packages/kafka-bridge/test/{check-owlmq,cluster-admin,discrepancies,log-reader,owlmq-client,preflight}.test.ts',
  'packages/kafka-bridge/test/{acls,kafka-settings,secure-kafka}.test.ts',
  'packages/kafka-bridge/test/{canonical-output,comparator,differing-fields,observation-digest,produce-encoder}.test.ts',
  'packages/kafka-bridge/test/{broker-restart,group-standing}.test.ts',
  'packages/owlmq-local/test/*.test.ts',
  'test/{clock-findings,codec,compare-module,compose,documented-commands,endpoint-limits,engines,exact-json}.test.ts',
  'test/{fleet-figures,fuzz,hooks,idle-kafkajs,metrics,observability,packed,rate-series,reset-point,runbook}.test.ts',
  'test/{temporal-connection,worker-config,worker-log}.test.ts',
  'test/integration/{live-page,observation-endpoint,publisher-brokers,secured}.test.ts',
  'test/workflow/*.test.ts',
  'packages/kafka-bridge/test/{consumer-types,public-types,readme,record-frames,record-heads,tarball,verdict-record}.test.ts',
];

export default defineConfig({
  test: {
    globalSetup: ['test/global-setup.ts'],
    testTimeout: 120_000,
    hookTimeout: 300_000,
    /**
     * A workflow test that the time-skipping server let hang is tried again. Of its first try the Temporal client may
     * still repeat a call, in a timer, on a channel that is closed by then: that says nothing of the second.
     */
    onUnhandledError: (error) => error.message !== 'Channel has been shut down',
    projects: [
      {
        extends: true,
        test: {
          // Real brokers, servers and workers share two cores: files run one after the other.
          name: 'alone',
          include: ['test/**/*.test.ts', 'packages/*/test/**/*.test.ts'],
          exclude: sideBySide,
          maxWorkers: 1,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: 'side by side', include: sideBySide, maxWorkers: 3, sequence: { groupOrder: 1 } },
      },
    ],
  },
});

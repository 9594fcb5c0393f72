import { ApplicationFailure } from '@temporalio/activity';
import { EpochSupersededError, isFinal, keepFinalState } from '@owlmq/kafka-bridge/operations';
import type { Dependencies } from './dependencies.js';
import { withHeartbeat } from './heartbeat.js';
import type { MigrationActivities } from './migration-activities.js';
import { owlmqEnds } from './topic-offsets.js';

type RoutingActivities = Pick<MigrationActivities, 'applyRouting' | 'prepareTopics' | 'legEnds'>;

/** Steps that write what the fleet obeys, and read how far the legs are. */
export function routingActivities({ routing, owlmq, reader }: Dependencies): RoutingActivities {
  return {
    applyRouting: (state) =>
      withHeartbeat(async () => {
        try {
          await routing.write(state);
        } catch (error) {
          // Somebody wrote a state by hand. Another try would lose again: a person decides.
          if (!(error instanceof EpochSupersededError)) throw error;
          throw ApplicationFailure.create({
            message: error.message,
            type: 'EpochSuperseded',
            nonRetryable: true,
            cause: error,
            details: [error.found.epoch],
          });
        }
        // For members that start when Kafka is gone.
        if (isFinal(state)) await keepFinalState(owlmq, state);
      }),

    prepareTopics: async ({ topics }) => {
      await routing.ensureTopics();
      const created: string[] = [];
      for (const [topic, partitions] of Object.entries(topics)) {
        if (await owlmq.createTopic(topic, partitions)) created.push(topic);
      }
      return { created };
    },

    legEnds: ({ leg, topics }) =>
      withHeartbeat(async ({ signal }) => {
        if (leg === 'owlmq') return await owlmqEnds(owlmq, topics);
        const ends = topics.map(async (topic) => [topic, await reader.ends(topic, { signal })] as const);
        return Object.fromEntries(await Promise.all(ends));
      }),
  };
}

import { proveKafka, proveOwlmq } from '@owlmq/kafka-bridge/operations';
import type { Dependencies } from './dependencies.js';
import type { MigrationActivities } from './migration-activities.js';

/** The step that proves a leg by a message through it. */
export function canaryActivities({ kafka, owlmq }: Dependencies): Pick<MigrationActivities, 'proveLeg'> {
  return {
    proveLeg: async ({ leg }) => {
      const started = performance.now();
      if (leg === 'kafka') await proveKafka(kafka);
      else await proveOwlmq(owlmq);
      return { roundTripMs: Math.round(performance.now() - started) };
    },
  };
}

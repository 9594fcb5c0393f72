import { Kafka, logLevel } from 'kafkajs';
import { ObservationProducer } from '../src/consumer/observation-producer.js';
import { Observer } from '../src/consumer/observer.js';
import { OutputDigester } from '../src/consumer/output-digest.js';
import type { RoutingState } from '../src/routing/routing-state.js';

/** An observer under a state, whose producer is never started: it decides and digests, and writes nothing. */
export function idleObserver(state: RoutingState): Observer {
  const kafka = new Kafka({ brokers: ['127.0.0.1:1'], logLevel: logLevel.NOTHING });
  return new Observer({
    migration: 'm',
    group: 'g',
    digester: new OutputDigester({ migration: 'm' }),
    handlerVersion: undefined,
    comparable: undefined,
    producer: new ObservationProducer(kafka, () => undefined),
    state: () => state,
    onError: () => undefined,
  });
}

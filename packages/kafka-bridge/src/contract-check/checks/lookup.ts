import type { Check } from '../check.js';
import { lookup } from '../requests.js';
import { same } from '../verdicts.js';
import { WRITES } from './publish.js';

/** Finding records by their ids. */
export const lookupChecks: readonly Check[] = [
  {
    name: 'lookup.places',
    section: 'lookup',
    expected: 'one place an id, in the order of the ids; null where the topic has no such record',
    needs: WRITES,
    async run(trial) {
      const { topic, partition } = await trial.partition();
      const other = (await trial.partition()).partition;
      const sent = [partition, other, partition, partition, other].map((at) => trial.record(at));
      const places = (await trial.accepted(topic, sent)).map(({ partition: at, offset }) => ({
        partition: at,
        offset,
      }));
      const asked = [4, 0, undefined, 2, 1, 0, 3];
      const ids = asked.map((index) => (index === undefined ? trial.name('id') : (sent[index]?.id ?? '')));
      const expected = asked.map((index) => (index === undefined ? null : places[index]));
      same('places', await trial.lookup(topic, ids), expected);
      same('places of no ids', await trial.lookup(topic, []), []);
      return 'seven ids in another order than they were written, one unknown, one twice: each place right';
    },
  },
  {
    name: 'lookup.unknown-topic',
    section: 'lookup',
    expected: 'a look-up in a topic that does not exist is refused with 404 unknown-topic',
    needs: [],
    async run(trial) {
      await trial.refused(lookup(trial.name('unknown'), ['an-id']), 404, 'unknown-topic');
      return 'HTTP 404 unknown-topic';
    },
  },
];

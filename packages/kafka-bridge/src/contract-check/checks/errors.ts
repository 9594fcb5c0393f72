import type { Check } from '../check.js';
import {
  commit,
  createTopic,
  describeGroup,
  describeTopic,
  fetchRecords,
  heartbeat,
  joinGroup,
  lookup,
  offsetsForTime,
  readRecords,
  setGroupOffsets,
} from '../requests.js';
import { joinRequest } from '../trial.js';
import { ContractBrokenError, holds, NotTriedError, same } from '../verdicts.js';
import { at } from './groups.js';

const INVALID = [400, 'invalid-request'] as const;
const UNKNOWN = { colour: 'red' };

/** Requests that break the contract. */
export const errorChecks: readonly Check[] = [
  {
    name: 'errors.unknown-path',
    section: 'ProblemType',
    expected: 'a path that is not there is answered with 404 not-found',
    needs: [],
    async run(trial) {
      const path = `/v1/${trial.endpoint.prefix}-no-such-path`;
      await trial.refused({ operation: `GET ${path}`, method: 'GET', path }, 404, 'not-found');
      return 'HTTP 404 not-found';
    },
  },
  {
    name: 'errors.unknown-method',
    section: 'ProblemType',
    expected: 'a method that a path does not have is answered with 405 method-not-allowed',
    needs: [],
    async run(trial) {
      for (const path of ['/v1/limits', '/v1/groups']) {
        const request = { operation: `PATCH ${path}`, method: 'PATCH', path, body: {} } as const;
        await trial.refused(request, 405, 'method-not-allowed');
      }
      return 'PATCH: HTTP 405 method-not-allowed';
    },
  },
  {
    name: 'errors.unknown-fields',
    section: 'Conventions',
    expected: 'a field that the contract does not know is refused with 400 invalid-request, and nothing is done',
    needs: ['members.commit'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const created = trial.name('unknown-field');
      await trial.refused(createTopic(created, { partitions: 1, ...UNKNOWN }), ...INVALID, 'an unknown field');
      await trial.refused(describeTopic(created), 404, 'unknown-topic', 'a topic whose creation was refused');
      const ids = lookup(topic, ['an-id']);
      await trial.refused({ ...ids, body: { ids: ['an-id'], ...UNKNOWN } }, ...INVALID, 'an unknown field');
      const group = trial.name('unknown-field');
      await trial.refused(setGroupOffsets(group, [at(topic, 0, 1)], UNKNOWN), ...INVALID, 'an unknown field');
      const inside = setGroupOffsets(group, [Object.assign(at(topic, 0, 1), UNKNOWN)]);
      await trial.refused(inside, ...INVALID, 'an unknown field in an offset');
      await trial.refused(joinGroup(group, joinRequest(topic), UNKNOWN), ...INVALID, 'an unknown field');
      await trial.refused(describeGroup(group), 404, 'unknown-group', 'a group whose making was refused');
      const { memberId, generation } = await trial.joinStable(group, topic);
      const fetch = { generation, positions: [at(topic, 0, 0)] };
      await trial.refused(heartbeat(group, memberId, generation, UNKNOWN), ...INVALID, 'an unknown field');
      await trial.refused(fetchRecords(group, memberId, fetch, UNKNOWN), ...INVALID, 'an unknown field');
      const late = commit(group, memberId, generation, [at(topic, 0, 1)], UNKNOWN);
      await trial.refused(late, ...INVALID, 'an unknown field');
      same('committed offsets', await trial.committed(group), {});
      return 'seven operations, and an offset in one of them: HTTP 400 each, and nothing was done';
    },
  },
  {
    name: 'errors.bodies',
    section: 'BadRequest',
    expected: 'a body that is no JSON, lacks a field, or has one of another kind or out of bounds is refused with 400',
    needs: ['topics.create'],
    async run(trial) {
      const topic = trial.name('bad-body');
      for (const body of ['{', '', '{}', '{"partitions":"1"}', '{"partitions":0}', '{"partitions":1.5}', '[]']) {
        await trial.refused(createTopic(topic, body), ...INVALID, `the body '${body}'`);
      }
      await trial.refused(describeTopic(topic), 404, 'unknown-topic', 'a topic whose creation was refused');
      const existing = await trial.topic('not-subscribed', 1);
      const group = trial.name('bad-body');
      await trial.refused(setGroupOffsets(group, []), ...INVALID, 'no offsets');
      await trial.refused(setGroupOffsets(group, [at(existing, 0, -1)]), ...INVALID, 'a negative offset');
      const join = joinRequest(existing);
      await trial.refused(joinGroup(group, { ...join, topics: [] }), ...INVALID, 'no topics');
      await trial.refused(
        joinGroup(group, { ...join, sessionTimeoutMs: 99 }),
        ...INVALID,
        'a session that is too short',
      );
      return 'eleven bodies: HTTP 400 each';
    },
  },
  {
    name: 'errors.parameters',
    section: 'BadRequest',
    expected: 'names and parameters that cannot be are refused with 400 invalid-request',
    needs: ['topics.create'],
    async run(trial) {
      const { topic, partition } = await trial.partition();
      for (const query of [
        {},
        { offset: -1 },
        { offset: 'x' },
        { offset: 0, maxRecords: 0 },
        { offset: 0, maxBytes: 0 },
      ]) {
        const read = readRecords(topic, partition, query);
        await trial.refused(read, ...INVALID, `the query ${JSON.stringify(query)}`);
      }
      await trial.refused(offsetsForTime(topic, undefined), ...INVALID, 'no time');
      await trial.refused(offsetsForTime(topic, -1), ...INVALID, 'a negative time');
      for (const name of ['with space', 'x'.repeat(250)]) {
        await trial.refused(createTopic(name, { partitions: 1 }), ...INVALID, `the topic '${name.slice(0, 20)}'`);
      }
      await trial.refused(describeGroup('bell\u0007'), ...INVALID, 'a control character in the name of a group');
      return 'ten requests: HTTP 400 each';
    },
  },
  {
    name: 'errors.form',
    section: 'Problem',
    expected:
      'every error is application/problem+json with a known type, the status of that type, a title and a detail',
    needs: [],
    async run(trial) {
      const { endpoint } = trial;
      // Some of its own, so that the check says something when it is tried alone.
      await trial.send({ ...describeTopic(trial.name('unknown')), apiKey: null });
      await trial.send(describeTopic(trial.name('unknown')));
      await trial.send(createTopic(trial.name('bad-body'), '{'));
      const wrong = endpoint.malformedErrors;
      holds(wrong.length === 0, wrong.join('; '));
      if (endpoint.errors === 0) throw new ContractBrokenError('no request was answered with an error');
      return `${endpoint.errors} errors in this run, all of that form`;
    },
  },
  {
    name: 'errors.retry-after',
    section: 'Conventions',
    expected: '429 and 503 carry Retry-After in whole seconds',
    needs: [],
    run({ endpoint }) {
      const { count, without } = endpoint.refusals;
      if (count === 0) throw new NotTriedError('nothing was answered with 429 or 503 in this run');
      holds(without.length === 0, `without Retry-After in whole seconds: ${without.join('; ')}`);
      return Promise.resolve(`${count} such answers, each with Retry-After`);
    },
  },
];

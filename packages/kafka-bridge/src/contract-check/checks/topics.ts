import type { Check } from '../check.js';
import { topicListSchema, topicSchema } from '../answers.js';
import { createTopic, describeTopic, listTopics } from '../requests.js';
import { holds, same } from '../verdicts.js';

const NEEDS = ['topics.create'];

/** Topics and their partitions. */
export const topicChecks: readonly Check[] = [
  {
    name: 'topics.create',
    section: 'createTopic',
    expected: 'a new topic is answered with 201 and its partitions by index, each from offset 0 to offset 0',
    needs: [],
    async run(trial) {
      const name = trial.name('created');
      const created = await trial.json(createTopic(name, { partitions: 3 }), topicSchema, 201);
      const partitions = [0, 1, 2].map((partition) => ({ partition, beginOffset: 0, endOffset: 0 }));
      same('the topic', created, { name, partitions });
      same('its description', await trial.json(describeTopic(name), topicSchema), { name, partitions });
      return 'HTTP 201, three empty partitions, and the description says so too';
    },
  },
  {
    name: 'topics.create-again',
    section: 'createTopic',
    expected: 'creating a topic again with as many partitions is answered with 200, and changes nothing',
    needs: NEEDS,
    async run(trial) {
      const name = trial.name('created-again');
      const first = await trial.json(createTopic(name, { partitions: 2 }), topicSchema, 201);
      same('the topic', await trial.json(createTopic(name, { partitions: 2 }), topicSchema, 200), first);
      return 'HTTP 200 with the same topic';
    },
  },
  {
    name: 'topics.other-partition-count',
    section: 'createTopic',
    expected: 'creating a topic again with another number of partitions is refused with 409 topic-exists',
    needs: NEEDS,
    async run(trial) {
      const name = trial.name('other-count');
      const first = await trial.json(createTopic(name, { partitions: 2 }), topicSchema, 201);
      await trial.refused(createTopic(name, { partitions: 3 }), 409, 'topic-exists');
      same('the topic afterwards', await trial.json(describeTopic(name), topicSchema), first);
      return 'HTTP 409 topic-exists; the topic has as many partitions as before';
    },
  },
  {
    name: 'topics.unknown',
    section: 'describeTopic',
    expected: 'a topic that does not exist is answered with 404 unknown-topic',
    needs: [],
    async run(trial) {
      await trial.refused(describeTopic(trial.name('unknown')), 404, 'unknown-topic');
      return 'HTTP 404 unknown-topic';
    },
  },
  {
    name: 'topics.list',
    section: 'listTopics',
    expected: 'the list has every topic, with the offsets that its description has',
    needs: [...NEEDS, 'publish.written'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const { topics } = await trial.json(listTopics(), topicListSchema);
      const listed = topics.filter(({ name }) => name === topic);
      holds(listed.length === 1, `the topic ${topic} is in the list ${listed.length} times`);
      same('the topic in the list', listed[0], await trial.json(describeTopic(topic), topicSchema));
      return `${topics.length} topics, ours with its offsets among them`;
    },
  },
];

import type { MigrationPlan } from '@owlmq/kafka-bridge/playbook';

/** Something that a migration leaves behind, and how it is deleted by hand once nobody needs it. */
export interface Leftover {
  what: string;
  command: string;
}

/** What may be deleted after the decommission. This software deletes none of it. */
export function leftoversOf({ topics, groups }: Pick<MigrationPlan, 'topics' | 'groups'>): Leftover[] {
  const kafka = (tool: string, rest: string): string => `${tool} --bootstrap-server $KAFKA_BROKERS --delete ${rest}`;
  return [
    ...topics.map((topic) => ({
      what: `topic ${topic} of Kafka, with all that is in it`,
      command: kafka('kafka-topics.sh', `--topic ${topic}`),
    })),
    ...groups.flatMap((group) =>
      [group, `${group}.shadow`].map((name) => ({
        what: `positions of group ${name} in Kafka${name === group ? '' : ', where there are any'}`,
        command: kafka('kafka-consumer-groups.sh', `--group ${name}`),
      })),
    ),
    {
      what: 'topics of the bridge in Kafka, once no migration uses them and no service is started that reads them',
      command: kafka('kafka-topics.sh', "--topic 'owlmq-bridge[.].*'"),
    },
  ];
}

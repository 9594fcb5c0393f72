/** Who connects to Kafka. An operator who uses `kafka-bridge` by hand is a worker here. */
export const kafkaRoles = ['worker', 'publisher', 'consumer'] as const;
export type KafkaRole = (typeof kafkaRoles)[number];

/** Both clients mark their errors: kafkajs by name, `@platformatic/kafka` by code. */
export function isKafkaClientError(error: Error): boolean {
  const { code } = error as { code?: unknown };
  return error.name.startsWith('KafkaJS') || (typeof code === 'string' && code.startsWith('PLT_KFK_'));
}

/** Versions of what is fetched. An engine already on the machine may be newer. */
export const versions = {
  temporalCli: '1.5.1',
  kafka: '4.3.0',
  kafkaScala: '2.13',
  /** The SLF4J that Kafka 4.3 is built against. */
  slf4j: '1.7.36',
  temporalTestServer: '1.35.0',
  mavenDependencyPlugin: '3.8.1',
  /** Tests of faults alone use it. */
  toxiproxy: '2.12.0',
} as const;

/** Whether dotted version `a` is at least `b`. */
export function atLeast(a: string, b: string): boolean {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  for (let i = 0; i < (right?.length ?? 0); i++) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

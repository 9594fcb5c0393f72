/** A record of a Kafka partition, as bytes. */
export interface LogRecord {
  topic: string;
  partition: number;
  offset: number;
  /** Unix ms. */
  timestamp: number;
  key: Buffer | null;
  value: Buffer | null;
  /** By name; a name that came several times has a list, in the record's order. Null values are empty here. */
  headers: Record<string, Buffer | Buffer[]>;
}

import { pause } from '../async/bounded.js';
import { ensureBridgeTopics } from './bridge-topics.js';
import { EpochSupersededError } from './routing-errors.js';
import { decodeRoutingRecord, newerState, RoutingRecordError } from './routing-log.js';
import { decideWrite } from './write-decision.js';
import { ROUTING_TOPIC, routingStateSchema, type RoutingState } from './routing-state.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader, UnknownTopicError } from '../kafka/log-reader.js';
import { ReplaceableProducer } from '../kafka/replaceable-producer.js';

const WRITE_TIMEOUT_MS = 20_000;
const WRITE_ATTEMPTS = 5;

interface Topic {
  /** The state that stands, by migration. */
  standing: Map<string, RoutingState>;
  /** The last record, by migration: what compaction will leave. */
  last: Map<string, RoutingState | undefined>;
}

/** Between two reads of all states, for callers that come side by side. */
const BETWEEN_READS_MS = 250;

/** Writes routing states, and reads the ones that stand. Calls may come side by side. */
export class RoutingWriter {
  readonly #connection: KafkaConnection;
  readonly #clientId: string;
  readonly #producer: ReplaceableProducer;
  readonly #reader: LogReader;
  #writing: Promise<unknown> = Promise.resolve();
  #lastRead: Promise<void> = Promise.resolve();
  #nextRead: Promise<RoutingState[]> | undefined;

  constructor(options: { connection: KafkaConnection; clientId: string }) {
    this.#connection = options.connection;
    this.#clientId = options.clientId;
    this.#producer = new ReplaceableProducer(options);
    this.#reader = new LogReader(options.connection, { clientId: options.clientId });
  }

  /**
   * Creates the topics that the bridge needs, where they do not exist.
   *
   * @throws {BridgeTopicError} when one exists in a shape that cannot be used.
   */
  async ensureTopics(): Promise<void> {
    await ensureBridgeTopics(this.#connection, this.#clientId);
  }

  /** The state that stands, read to the end of the topic; undefined when none was written. */
  async read(migration: string): Promise<RoutingState | undefined> {
    return (await this.#readTopic()).standing.get(migration);
  }

  /**
   * The states that stand, of all migrations. Callers that come while it is read share the next read: that begins after
   * they asked, and a moment after the last, so that hundreds of them cost little more than one.
   */
  async readAll(): Promise<RoutingState[]> {
    this.#nextRead ??= this.#readInTurn();
    return await this.#nextRead;
  }

  async #readInTurn(): Promise<RoutingState[]> {
    await this.#lastRead;
    this.#nextRead = undefined;
    const read = this.#readTopic();
    const settled = read.then(
      () => undefined,
      () => undefined,
    );
    this.#lastRead = settled.then(() => pause(BETWEEN_READS_MS));
    return [...(await read).standing.values()];
  }

  /**
   * Writes a state, and reads back that it stands. Safe to repeat: a state that stands already is not written again. A
   * routing topic that was deleted is made anew for it.
   *
   * @param options `over`: the epoch that must stand when it is written, for states whose epoch is not the next one.
   * @throws {EpochSupersededError} when a higher epoch, or another state with this epoch, stands; or not `over`.
   */
  async write(state: RoutingState, options: { over?: number } = {}): Promise<void> {
    const checked = routingStateSchema.parse(state);
    const writing = this.#writing.then(() => this.#write(checked, options.over));
    this.#writing = writing.catch(() => undefined);
    await writing;
  }

  async close(): Promise<void> {
    await this.#writing;
    await Promise.all([this.#producer.close(), this.#reader.close()]);
  }

  async #write(state: RoutingState, over: number | undefined): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const { standing, last } = await this.#readOrMakeTopic();
      const known = { standing: standing.get(state.migration), last: last.get(state.migration) };
      const decision = decideWrite(state, known, { over, mayRepair: attempt < WRITE_ATTEMPTS });
      if (decision.do === 'nothing') return;
      if (decision.do === 'refuse') throw new EpochSupersededError(state, decision.found);
      await this.#send(decision.state);
    }
  }

  async #readOrMakeTopic(): Promise<Topic> {
    try {
      return await this.#readTopic();
    } catch (error) {
      if (!(error instanceof UnknownTopicError)) throw error;
      await this.ensureTopics();
      return await this.#readTopic();
    }
  }

  async #send(state: RoutingState): Promise<void> {
    const message = { key: state.migration, value: JSON.stringify(state), partition: 0 };
    try {
      await this.#producer.sendBatch(
        { topicMessages: [{ topic: ROUTING_TOPIC, messages: [message] }] },
        WRITE_TIMEOUT_MS,
      );
    } catch (error) {
      await this.#producer.giveUp();
      throw error;
    }
  }

  async #readTopic(): Promise<Topic> {
    const topic: Topic = { standing: new Map(), last: new Map() };
    for await (const record of this.#reader.readToEnd(ROUTING_TOPIC, 0, 'begin')) {
      try {
        const state = decodeRoutingRecord(record);
        if (state === undefined) continue;
        topic.last.set(state.migration, state);
        topic.standing.set(state.migration, newerState(topic.standing.get(state.migration), state));
      } catch (error) {
        // Members ignore such a record too. It is replaced behind the standing state at the next write.
        if (!(error instanceof RoutingRecordError)) throw error;
        if (record.key !== null) topic.last.set(record.key.toString(), undefined);
      }
    }
    return topic;
  }
}

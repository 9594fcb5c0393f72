import { isDeepStrictEqual } from 'node:util';
import { routingStateSchema, type RoutingState } from './routing-state.js';

/** A record of the routing topic is not a routing state that this version can read. */
export class RoutingRecordError extends Error {
  override readonly name = 'RoutingRecordError';
}

/** The parts of a Kafka record that carry a routing state. */
export interface RoutingRecord {
  key: Buffer | null;
  value: Buffer | null;
  offset: number;
}

/**
 * The routing state of a record; undefined for one without a key or value.
 *
 * @throws {RoutingRecordError} when it cannot be read.
 */
export function decodeRoutingRecord(record: RoutingRecord): RoutingState | undefined {
  if (record.key === null || record.value === null) return undefined;
  const key = record.key.toString();
  const fail = (cause: unknown) =>
    new RoutingRecordError(`Offset ${record.offset} of the routing topic, migration ${key}, is no routing state.`, {
      cause,
    });
  let json: unknown;
  try {
    json = JSON.parse(record.value.toString());
  } catch (error) {
    throw fail(error);
  }
  const parsed = routingStateSchema.safeParse(json);
  if (!parsed.success) throw fail(parsed.error);
  if (parsed.data.migration !== key) throw fail(new Error(`It names the migration ${parsed.data.migration}.`));
  return parsed.data;
}

/**
 * The state to follow after `candidate` was read: the higher epoch, and of two with the same epoch the first. This is
 * the whole rule by which members and writers read the routing topic, so all of them agree.
 */
export function newerState(current: RoutingState | undefined, candidate: RoutingState): RoutingState {
  return current === undefined || candidate.epoch > current.epoch ? candidate : current;
}

/** Whether two states say the same; the time of writing is for people and left aside. */
export function sameState(a: RoutingState, b: RoutingState): boolean {
  return isDeepStrictEqual(comparable(a), comparable(b));
}

function comparable(state: RoutingState): unknown {
  return JSON.parse(JSON.stringify({ ...state, writtenAt: '' }));
}

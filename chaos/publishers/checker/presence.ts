import { incarnationOf, valueOf } from '../fleet/message.js';
import type { Publication } from '../fleet/publications.js';
import type { Anomalies } from './anomalies.js';
import type { Counts, Evidence } from './check.js';
import { placeOf, type StoredRecord } from './stored-record.js';

type PresenceCounts = Pick<
  Counts,
  'ok' | 'failed' | 'unknown' | 'unknownPresent' | 'duplicatesOnKafka' | 'heldBackOnOneLeg'
>;

/** Is on each leg what must be there, and nothing else? */
export function checkPresence(
  evidence: Evidence,
  heldBack: ReadonlySet<StoredRecord>,
  anomalies: Anomalies,
): PresenceCounts {
  const { publications, routes, closed } = evidence;
  const kafka = byId(evidence.kafka);
  const owlmq = byId(evidence.owlmq);
  const counts: PresenceCounts = {
    ok: 0,
    failed: 0,
    unknown: 0,
    unknownPresent: 0,
    duplicatesOnKafka: 0,
    heldBackOnOneLeg: 0,
  };

  for (const record of [...evidence.kafka, ...evidence.owlmq]) {
    const publication = publications.get(record.id);
    if (publication === undefined) {
      anomalies.note('invented', record.id || '(no id)', placeOf(record));
    } else if (record.value !== valueOf(publication) || record.topic !== publication.topic) {
      anomalies.note('altered', record.id, placeOf(record));
    }
  }
  for (const [id, records] of owlmq) {
    if (records.length > 1) anomalies.note('duplicate-on-owlmq', id, records.map(placeOf).join(', '));
  }
  for (const records of kafka.values()) counts.duplicatesOnKafka += records.length - 1;
  for (const [mine, others, other] of [
    [kafka, owlmq, 'OwlMQ'],
    [owlmq, kafka, 'Kafka'],
  ] as const) {
    for (const [id, [record]] of mine) {
      const copy = others.get(id)?.[0];
      if (record === undefined) continue;
      if (record.copied && copy === undefined && heldBack.has(record) && !isAcknowledged(publications.get(id))) {
        counts.heldBackOnOneLeg++;
      } else if (record.copied && copy === undefined) {
        const told = toldOf(publications.get(id));
        anomalies.note('missing-copy', id, `${placeOf(record)}, not on ${other}; ${told}`);
      }
      if (copy !== undefined && copy.partition !== record.partition && mine === kafka) {
        anomalies.note('misplaced', id, `${placeOf(record)}, ${placeOf(copy)}`);
      }
    }
  }

  for (const publication of publications.values()) {
    const { id, outcome } = publication;
    const places = { kafka: kafka.get(id) ?? [], owlmq: owlmq.get(id) ?? [] };
    const all = [...places.kafka, ...places.owlmq];
    if (outcome === 'ok') {
      counts.ok++;
      checkAcknowledged(publication, places, routes, anomalies);
    } else if (outcome === 'failed') {
      counts.failed++;
      if (all.length > 0) {
        anomalies.note('failed-but-present', id, `${publication.error ?? ''}: ${all.map(placeOf).join(', ')}`);
      }
    } else {
      counts.unknown++;
      if (all.length > 0) counts.unknownPresent++;
      if (outcome === 'none' && closed.has(incarnationOf(id))) {
        anomalies.note('never-settled', id, all.length > 0 ? all.map(placeOf).join(', ') : 'on no leg');
      }
    }
  }
  return counts;
}

function checkAcknowledged(
  publication: Publication,
  places: Record<'kafka' | 'owlmq', readonly StoredRecord[]>,
  routes: Evidence['routes'],
  anomalies: Anomalies,
): void {
  const { id, epoch = 0 } = publication;
  const route = routes.get(epoch);
  const told = toldOf(publication);
  if (places.kafka.length + places.owlmq.length === 0) {
    anomalies.note('vanished', id, told);
    return;
  }
  if (route === undefined) anomalies.note('unknown-epoch', id, told);
  else if (places[route.primary].length === 0) {
    anomalies.note('lost', id, `${told}; only ${[...places.kafka, ...places.owlmq].map(placeOf).join(', ')}`);
  }
  for (const leg of ['kafka', 'owlmq'] as const) {
    const said = publication[leg];
    if (
      said === undefined ||
      places[leg].some(({ partition, offset }) => partition === said[0] && offset === said[1])
    ) {
      continue;
    }
    const found = places[leg].map(placeOf).join(', ') || 'nowhere on that leg';
    anomalies.note('misplaced', id, `told ${leg} ${said.join('/')}, found ${found}`);
  }
  const all = [...places.kafka, ...places.owlmq];
  // A repetition under a later epoch is answered by OwlMQ with the place of the first attempt.
  const answeredAgain = route?.primary === 'owlmq' && places.owlmq.some((record) => record.epoch < epoch);
  if (!answeredAgain && !all.some((record) => record.epoch === epoch)) {
    anomalies.note('wrong-epoch', id, `${told}; ${all.map(placeOf).join(', ')}`);
  }
}

function isAcknowledged(publication: Publication | undefined): boolean {
  return publication?.outcome === 'ok';
}

function toldOf(publication: Publication | undefined): string {
  if (publication === undefined) return 'never published';
  const { outcome, epoch, error, calledAt, settledAt } = publication;
  const took = settledAt === undefined ? '' : `, after ${Math.round(settledAt - calledAt)} ms`;
  return `${outcome}${epoch === undefined ? '' : ` under epoch ${epoch}`}${error === undefined ? '' : ` (${error})`} of a call at ${Math.round(calledAt)}${took}`;
}

function byId(records: readonly StoredRecord[]): Map<string, StoredRecord[]> {
  const found = new Map<string, StoredRecord[]>();
  for (const record of records) {
    const present = found.get(record.id);
    if (present === undefined) found.set(record.id, [record]);
    else present.push(record);
  }
  return found;
}

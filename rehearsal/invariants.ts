import type { MigrationStatus } from '../src/workflows/status.js';
import type { StateModel } from './state-model.js';

/** Something that must hold, and whether it did. */
export interface Verdict {
  name: string;
  ok: boolean;
  detail: string;
}

/** What must hold at the end of a run, whatever befell it. Traffic ends, and consumers get to the end of their logs first. */
export function judge(model: StateModel, status: MigrationStatus, ends: string): Verdict[] {
  const { systems, toldRedeliveries, lackedAtDecommission } = model;
  systems.settle();
  const count = systems.count();
  const { kafka, owlmq } = count.acknowledged;
  const onKafka = status.phase === 'rolled-back';
  const open = systems.publishers.filter((one) => one.isLiving(systems.now));
  const sides = new Set([...open.map(({ primary }) => primary), ...systems.consumers.map(({ live }) => live)]);
  const expected = onKafka ? 'kafka' : 'owlmq';
  const verdicts: Verdict[] = [
    { name: `ends ${ends}`, ok: status.phase === ends, detail: `the run has ended as ${status.phase}` },
    {
      name: 'every acknowledged message is on the leg that acknowledged it',
      ok: count.absent === 0 && kafka + owlmq > 0,
      detail: `${kafka} acknowledged by Kafka, ${owlmq} by OwlMQ, ${count.absent} of them not there`,
    },
    {
      name: 'every acknowledged message reaches every group',
      ok: count.neverApplied === 0,
      detail: `${count.neverApplied} never applied, over ${systems.options.groups.length} groups`,
    },
    {
      name: 'no more messages come again than were told',
      ok: count.appliedAgain <= toldRedeliveries,
      detail: `${count.appliedAgain} came again, ${toldRedeliveries} were told at most`,
    },
    {
      name: 'no call is held at the end',
      ok: count.held === 0,
      detail: `${count.held} calls of publish() wait`,
    },
    {
      name: 'one side at the end',
      ok: sides.size === 1 && sides.has(expected),
      detail: `publishers and consumers are on ${[...sides].join(' and ')}`,
    },
    {
      name: 'at no moment two live sides, two primaries, a hold without a fence, a position that skips',
      ok: systems.violations.size === 0,
      detail: systems.violations.size === 0 ? 'none was seen' : [...systems.violations].slice(0, 10).join('; '),
    },
  ];
  if (onKafka) {
    verdicts.push({
      name: 'Kafka has every acknowledged message after the rollback',
      ok: count.notInKafka === 0,
      detail: `${count.notInKafka} are not in Kafka`,
    });
  }
  if (lackedAtDecommission !== undefined) {
    verdicts.push({
      name: 'Kafka was complete until its writes ended',
      ok: lackedAtDecommission === 0,
      detail: `${lackedAtDecommission} acknowledged messages were not in Kafka then`,
    });
  }
  return verdicts;
}

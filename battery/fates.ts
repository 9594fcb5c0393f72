import type { ConsumedMessage, ProcessContext } from '@owlmq/kafka-bridge';
import { invoiceOf } from './handler.js';
import { indexOf } from './orders.js';

/** What both sides make of an order, as its number has it. */
type Fate = 'same' | 'both fail' | 'different' | 'live fails' | 'shadow fails';

/** Verdicts that are counted, by the names of the comparison. */
export type Expected = Record<
  'matched' | 'different' | 'failedLive' | 'failedShadow' | 'missing' | 'unexpected' | 'reordered' | 'ignored',
  number
>;

function fateOf(index: number): Fate {
  if (index % 25 === 24) return 'both fail';
  if (index % 97 === 0) return 'different';
  if (index % 101 === 5) return 'live fails';
  if (index % 103 === 7) return 'shadow fails';
  return 'same';
}

/** A handler that does on each side what the fate of the order says. */
export function fatedInvoice(message: ConsumedMessage, context: ProcessContext): unknown {
  const invoice = invoiceOf(message, context);
  const fate = fateOf(indexOf(invoice.orderId));
  const side = message.position.leg === 'kafka' ? 'live' : 'shadow';
  if (fate === `${side} fails`) throw new RangeError(`${invoice.orderId} fails on the ${side} side`);
  return fate === 'different' && side === 'shadow' ? { ...invoice, totalCents: invoice.totalCents + 1 } : invoice;
}

/** What a comparison of so many orders has to count, whatever was killed meanwhile. */
export function expectedOf(orders: number): Expected {
  const expected: Expected = {
    ...{ matched: 0, different: 0, failedLive: 0, failedShadow: 0 },
    ...{ missing: 0, unexpected: 0, reordered: 0, ignored: 0 },
  };
  const verdicts = { different: 'different', 'live fails': 'failedLive', 'shadow fails': 'failedShadow' } as const;
  for (let index = 0; index < orders; index += 1) {
    const fate = fateOf(index);
    expected[fate === 'same' || fate === 'both fail' ? 'matched' : verdicts[fate]] += 1;
  }
  return expected;
}

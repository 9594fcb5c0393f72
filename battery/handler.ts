import type { ConsumedMessage, ProcessContext } from '@owlmq/kafka-bridge';
import type { Order } from './orders.js';

class InvalidOrderError extends Error {
  override readonly name = 'InvalidOrderError';
}

/** What the service makes of an order. */
export interface Invoice {
  orderId: string;
  customer: string;
  country: string;
  /** Day of the order in UTC. */
  day: string;
  placedAt: Date;
  lines: { sku: string; quantity: number; cents: number }[];
  skus: string[];
  totalCents: number;
  taxCents: number;
  /** The total for people. */
  label: string;
  discount: number | null | undefined;
  note: string | undefined;
  ledger: bigint;
  shipping: { parcel: { fragile: boolean; express: boolean } };
  region: string;
  confirmation: string;
  sampled: boolean;
  bookedAt: number;
}

export function parseOrder(message: ConsumedMessage): Order {
  const order = JSON.parse(message.value?.toString() ?? 'null') as Order;
  if (order.lines.some(({ quantity }) => quantity <= 0)) {
    throw new InvalidOrderError(`Order ${order.orderId} has a line without a quantity.`);
  }
  return order;
}

/** The handler as it should be: its output depends on the message and the sources that it is given, and nothing else. */
export function invoiceOf(message: ConsumedMessage, context: ProcessContext): Invoice {
  const order = parseOrder(message);
  const lines = order.lines.map(({ sku, quantity, price }) => ({ sku, quantity, cents: centsOf(price) * quantity }));
  const gross = lines.reduce((sum, { cents }) => sum + cents, 0);
  const totalCents = gross - Math.round(gross * (order.discount ?? 0));
  const { region } = message.headers;
  return {
    orderId: order.orderId,
    customer: order.customer.name.normalize('NFC').trim(),
    country: order.customer.country,
    day: order.placedAt.slice(0, 10),
    placedAt: new Date(order.placedAt),
    lines,
    skus: [...new Set(lines.map(({ sku }) => sku))].sort(),
    totalCents,
    taxCents: Math.round(totalCents * 0.19),
    label: new Intl.NumberFormat('en-US', { style: 'currency', currency: order.currency }).format(totalCents / 100),
    discount: order.discount,
    note: order.note,
    ledger: BigInt(order.ledger),
    shipping: { parcel: { fragile: lines.some(({ sku }) => sku.startsWith('A')), express: lines.length > 3 } },
    region: Buffer.isBuffer(region) ? region.toString() : 'none',
    confirmation: context.id(),
    sampled: context.random() < 0.01,
    bookedAt: context.clock.now(),
  };
}

function centsOf(price: string): number {
  const [whole = '0', part = '0'] = price.split('.');
  return Number(whole) * 100 + Number(part.padEnd(2, '0'));
}

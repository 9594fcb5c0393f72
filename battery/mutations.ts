import { randomUUID } from 'node:crypto';
import type { ConsumedMessage, ProcessContext } from '@owlmq/kafka-bridge';
import { invoiceOf, parseOrder, type Invoice } from './handler.js';

/** A handler: `invoiceOf`, or what somebody made of it. */
export type Handler = (message: ConsumedMessage, context: ProcessContext) => unknown;

/** A fault that gets into handlers, or a difference that is none. */
export interface Mutation {
  name: string;
  what: string;
  /** Makes the handler of a new process. */
  make: () => Handler;
  /** Which messages show it depends on more than the messages. */
  chancy?: true;
}

/** Changes what the right handler says. */
function changing(change: (invoice: Invoice, message: ConsumedMessage) => object): () => Handler {
  return () => (message, context) => {
    const invoice = invoiceOf(message, context);
    return { ...invoice, ...change(invoice, message) };
  };
}

/** Faults: each has to be found. */
export const mutations: readonly Mutation[] = [
  {
    name: 'rounding',
    what: 'tax rounded down in place of half up',
    make: changing(({ totalCents }) => ({ taxCents: Math.floor(totalCents * 0.19) })),
  },
  {
    name: 'half to even',
    what: 'halves of a cent rounded to even',
    make: changing(({ totalCents }) => ({ taxCents: halfToEven((totalCents * 19) / 100) })),
  },
  {
    name: 'floating point',
    what: 'amounts summed as floating point numbers',
    make: changing(({ lines, totalCents }) => {
      const exact = lines.reduce((sum, { cents }) => sum + cents, 0);
      const floating = lines.reduce((sum, { cents }) => sum + cents / 100, 0) * 100;
      return { totalCents: totalCents + (floating - exact) };
    }),
  },
  {
    name: 'time zone',
    what: "day of the order in the server's zone",
    make: changing(({ placedAt }) => ({
      day: new Intl.DateTimeFormat('sv-SE', { timeZone: 'Asia/Kolkata' }).format(placedAt),
    })),
  },
  {
    name: 'dropped field',
    what: 'a field left out',
    make:
      () =>
      (...given) =>
        without(invoiceOf(...given), 'country'),
  },
  { name: 'added field', what: 'a field more', make: changing(() => ({ version: 2 })) },
  {
    name: 'wrong order',
    what: 'lines in another order',
    make: changing(({ lines }) => ({ lines: [...lines].reverse() })),
  },
  {
    name: 'unsorted set',
    what: 'list in order of appearance, which was sorted',
    make: changing(({ lines }) => ({ skus: [...new Set(lines.map(({ sku }) => sku))] })),
  },
  {
    name: 'swallowed error',
    what: 'an order that is not valid gets an empty invoice',
    make:
      () =>
      (...given) => {
        try {
          return invoiceOf(...given);
        } catch {
          return {};
        }
      },
  },
  {
    name: 'other error',
    what: 'an order that is not valid fails as something else',
    make:
      () =>
      (...given) => {
        try {
          return invoiceOf(...given);
        } catch (error) {
          throw new RangeError('not valid', { cause: error });
        }
      },
  },
  {
    name: 'new error',
    what: 'fails where it must not',
    make: changing(({ note }) => {
      if (note === '') throw new TypeError('note is empty');
      return {};
    }),
  },
  { name: 'stale cache', what: 'the first region of a country is kept for ever', chancy: true, make: staleCache },
  {
    name: 'locale',
    what: "amounts written in the server's locale",
    make: changing(({ label, totalCents }) => ({
      label: label.startsWith('€')
        ? new Intl.NumberFormat('de-DE', { style: 'currency', currency: 'EUR' }).format(totalCents / 100)
        : label,
    })),
  },
  {
    name: 'bigint cut',
    what: 'a long number read as a double',
    make: changing(({ ledger }) => ({ ledger: BigInt(Number(ledger)) })),
  },
  {
    name: 'number as text',
    what: 'a number written as text',
    make: changing(({ totalCents }) => ({ totalCents: String(totalCents) })),
  },
  {
    name: 'null for absent',
    what: 'null where there was nothing',
    make: changing(({ discount }) => ({ discount: discount ?? null })),
  },
  {
    name: 'empty for absent',
    what: 'empty text where there was nothing',
    make: changing(({ note }) => ({ note: note ?? '' })),
  },
  {
    name: 'off by one',
    what: 'more than became at least',
    make: changing(({ lines, shipping: { parcel } }) => ({
      shipping: { parcel: { ...parcel, express: lines.length >= 3 } },
    })),
  },
  {
    name: 'letter case',
    what: 'names in lower case',
    make: changing(({ customer }) => ({ customer: customer.toLowerCase() })),
  },
  {
    name: 'normal form',
    what: 'names decomposed',
    make: changing(({ customer }) => ({ customer: customer.normalize('NFD') })),
  },
  {
    name: 'white space',
    what: 'names not trimmed',
    make: changing((_, message) => ({ customer: parseOrder(message).customer.name.normalize('NFC') })),
  },
  {
    name: 'cut text',
    what: 'notes cut at 255 characters',
    make: changing(({ note }) => ({ note: note?.slice(0, 255) })),
  },
  {
    name: 'seconds',
    what: 'times cut to seconds',
    make: changing(({ placedAt }) => ({ placedAt: new Date(Math.floor(placedAt.getTime() / 1_000) * 1_000) })),
  },
  {
    name: 'escaped text',
    what: 'notes escaped for HTML',
    make: changing(({ note }) => ({ note: note?.replaceAll('<', '&lt;') })),
  },
  { name: 'lost header', what: 'a header not read', make: changing(() => ({ region: 'none' })) },
  {
    name: 'deep flag',
    what: 'a flag deep inside turned over',
    make: changing(({ shipping: { parcel } }) => ({ shipping: { parcel: { ...parcel, fragile: !parcel.fragile } } })),
  },
  {
    name: 'own clock',
    what: "the server's clock in place of the message's",
    make: changing(() => ({ bookedAt: Date.now() })),
  },
  { name: 'own id', what: 'a random id', make: changing(() => ({ confirmation: randomUUID() })) },
  {
    name: 'own random',
    what: 'a sample of its own',
    chancy: true,
    make: changing(() => ({ sampled: Math.random() < 0.01 })),
  },
  { name: 'counter', what: 'state carried from message to message', chancy: true, make: counter },
  {
    name: 'not awaited',
    what: 'a promise in place of its value',
    make: changing(({ region }) => ({ region: Promise.resolve(region) })),
  },
  {
    name: 'rare branch',
    what: 'wrong in one message of a hundred',
    make: changing(({ orderId }) => (orderId.endsWith('37') ? { country: 'XX' } : {})),
  },
];

/** Differences that are none: nothing may be found. */
export const equivalents: readonly Mutation[] = [
  { name: 'the same', what: 'the same handler', make: () => invoiceOf },
  {
    name: 'order of properties',
    what: 'properties in the opposite order',
    make:
      () =>
      (...given) =>
        Object.fromEntries(Object.entries(invoiceOf(...given)).reverse()),
  },
  {
    name: 'absent for undefined',
    what: 'properties without a value left out',
    make:
      () =>
      (...given) =>
        Object.fromEntries(Object.entries(invoiceOf(...given)).filter(([, value]) => value !== undefined)),
  },
];

function staleCache(): Handler {
  const regions = new Map<string, string>();
  return (...given) => {
    const invoice = invoiceOf(...given);
    const region = regions.get(invoice.country) ?? invoice.region;
    regions.set(invoice.country, region);
    return { ...invoice, region };
  };
}

function counter(): Handler {
  let count = 0;
  return (...given) => {
    count += 1;
    return { ...invoiceOf(...given), sampled: count % 100 === 0 };
  };
}

function without(invoice: Invoice, field: keyof Invoice): object {
  return Object.fromEntries(Object.entries(invoice).filter(([name]) => name !== field));
}

function halfToEven(value: number): number {
  const floor = Math.floor(value);
  if (Math.abs(value - floor - 0.5) > 1e-9) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

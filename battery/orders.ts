/** An order as its producer writes it. */
export interface Order {
  orderId: string;
  customer: { name: string; country: string };
  placedAt: string;
  currency: string;
  lines: { sku: string; quantity: number; price: string }[];
  discount?: number | null;
  note?: string;
  /** More digits than a double holds. */
  ledger: string;
}

const NAMES = [
  'Zoë Müller',
  'Zoe\u0308 Mu\u0308ller',
  'ada lovelace',
  'O’Neil & Sons',
  'İpek Yılmaz',
  ' Grace Hopper ',
];
const COUNTRIES = ['DE', 'TR', 'US', 'IN', 'BR'];

/** The order with a number: always the same for the same number. One in 25 is not valid. */
function orderOf(index: number): Order {
  const pick = (salt: number, of: number): number => Math.abs(Math.imul(index + 1, salt) >> 8) % of;
  const lines = Array.from({ length: 1 + pick(2_654_435_761, 4) }, (_, line) => ({
    sku: `${'CAB'.charAt((pick(40_503, 3) + line) % 3)}-${pick(97, 50)}`,
    quantity: index % 25 === 24 ? -1 : 1 + ((pick(69_069, 9) + line) % 9),
    price: `${pick(22_695_477, 400)}.${String((pick(1_103_515_245, 100) + line) % 100).padStart(2, '0')}`,
  }));
  const hour = String(pick(48_271, 24)).padStart(2, '0');
  return {
    orderId: `o-${index}`,
    customer: { name: NAMES[pick(31, NAMES.length)] ?? '', country: COUNTRIES[pick(17, COUNTRIES.length)] ?? '' },
    placedAt: `2026-0${1 + pick(7, 9)}-28T${hour}:30:00.${String(pick(11, 1_000)).padStart(3, '0')}Z`,
    currency: pick(13, 4) === 0 ? 'JPY' : 'EUR',
    lines,
    ...(pick(19, 3) === 0 ? {} : { discount: pick(23, 4) === 0 ? null : pick(29, 30) / 100 }),
    ...(pick(37, 3) === 0 ? {} : { note: pick(41, 3) === 0 ? '' : `${'gift '.repeat(pick(43, 60))}<b>${index}</b>` }),
    ledger: `90071992547409${93_000 + pick(47, 1_000)}`,
  };
}

/** An order as it is published; its id is that of the message. */
export interface OrderMessage {
  id: string;
  key: string;
  value: string;
  headers: { region: string };
}

export function messageOf(index: number): OrderMessage {
  const order = orderOf(index);
  const key = `${order.customer.country}-${index % 200}`;
  return { id: order.orderId, key, value: JSON.stringify(order), headers: { region: `r${index % 7}` } };
}

/** The number of an order. */
export function indexOf(orderId: string): number {
  return Number(orderId.slice(2));
}

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeFetch,
  decodeRecords,
  encodeFetch,
  encodeRecords,
  frameBytes,
  RecordFramesError,
  scanFrames,
  setFrameOffset,
  type FramedRecord,
} from '../src/contract/index.js';

const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
const text = fc.string({ unit: 'grapheme', maxLength: 20 });
const record: fc.Arbitrary<FramedRecord> = fc.record(
  {
    partition: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    offset: fc.maxSafeNat(),
    id: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
    key: fc.option(bytes),
    value: fc.option(bytes),
    // Few names, so that they repeat.
    headers: fc.array(fc.tuple(fc.oneof(fc.constantFrom('', 'a', 'ä'), text), bytes), { maxLength: 6 }),
    timestamp: fc.maxSafeNat(),
  },
  { requiredKeys: ['partition', 'id', 'key', 'value', 'headers', 'timestamp'] },
);

describe('record frames', () => {
  it('come back as they were, byte for byte', () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 8 }), (records) => {
        const body = encodeRecords(records);
        expect(decodeRecords(body)).toEqual(records);
        expect(body.length).toBe(records.reduce((sum, one) => sum + frameBytes(one), 8));
      }),
    );
  });

  it('keep null and empty apart, and header names that repeat', () => {
    const empty = Buffer.alloc(0);
    const base = { partition: 0, id: 'x', timestamp: 0 };
    const headers: [string, Buffer][] = [
      ['h', Buffer.from([0xff])],
      ['h', empty],
    ];
    const records = [
      { ...base, key: null, value: empty, headers },
      { ...base, key: empty, value: null, headers: [] },
    ];
    expect(decodeRecords(encodeRecords(records))).toEqual(records);
  });

  it('are laid out as the contract says', () => {
    const body = encodeRecords([
      {
        partition: 3,
        id: 'id',
        key: Buffer.from('k'),
        value: null,
        headers: [['h', Buffer.from('v')]],
        timestamp: 2 ** 32 + 5,
      },
    ]);
    expect(body.toString('hex')).toBe(
      [
        '4f574c01',
        '00000001',
        '0000002b', // length
        '00000003',
        'ffffffffffffffff',
        '0000000100000005',
        '00026964',
        '000000016b',
        'ffffffff',
        '0001',
        '000168',
        '0000000176',
      ].join(''),
    );
  });

  it('take an offset without being taken apart', () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 5 }), fc.maxSafeNat(), (records, offset) => {
        const body = encodeRecords(records);
        for (const frame of scanFrames(body)) setFrameOffset(body, frame, offset);
        expect(decodeRecords(body)).toEqual(records.map((one) => ({ ...one, offset })));
      }),
    );
  });

  it('are refused when bytes are missing or left over, wherever the cut is', () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 3 }), fc.nat(), (records, at) => {
        const body = encodeRecords(records);
        expect(() => scanFrames(body.subarray(0, at % body.length))).toThrow(RecordFramesError);
        expect(() => scanFrames(Buffer.concat([body, Buffer.alloc(1)]))).toThrow(RecordFramesError);
      }),
    );
  });

  it('never break the scanner, whatever byte is changed', () => {
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 3 }),
        fc.nat(),
        fc.nat({ max: 255 }),
        (records, at, value) => {
          const body = encodeRecords(records);
          body[at % body.length] = value;
          try {
            expect(decodeRecords(body)).toHaveLength(body.readUInt32BE(4));
          } catch (error) {
            expect(error).toBeInstanceOf(RecordFramesError);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['an empty id', { id: '' }],
    ['an id of 513 bytes', { id: 'x'.repeat(513) }],
    ['an id with half a surrogate pair', { id: '\ud800' }],
    ['a negative timestamp', { timestamp: -1 }],
    ['a fractional partition', { partition: 0.5 }],
    ['1001 headers', { headers: Array.from({ length: 1001 }, (): [string, Buffer] => ['h', Buffer.alloc(0)]) }],
  ])('cannot hold %s', (_what, change) => {
    const whole = { partition: 0, id: 'x', key: null, value: null, headers: [], timestamp: 0 };
    expect(() => encodeRecords([{ ...whole, ...change }])).toThrow(TypeError);
  });

  it('travel behind a JSON head', () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 3 }), fc.json(), (records, json) => {
        const head: unknown = JSON.parse(json);
        const decoded = decodeFetch(encodeFetch(head, [encodeRecords(records)]));
        expect(decoded.records).toEqual(records);
        expect(JSON.stringify(decoded.head)).toBe(JSON.stringify(head));
      }),
    );
    expect(() => decodeFetch(Buffer.from([0, 0, 0, 9, 1]))).toThrow(RecordFramesError);
    expect(() => decodeFetch(Buffer.from([0, 0, 0, 1, 0x7b]))).toThrow(RecordFramesError);
  });
});

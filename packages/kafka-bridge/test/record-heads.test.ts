import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bodyHead, decodeHeads, encodeHeads, encodeRecords, headOf, RecordFramesError } from '../src/contract/index.js';
import { OwlmqClient } from '../src/owlmq/owlmq-client.js';
import { Legs, messages } from './audit-legs.js';

const bytes = fc.uint8Array({ maxLength: 40 }).map((value) => Buffer.from(value));
const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 });
const record = fc.record({
  partition: fc.nat(),
  offset: fc.maxSafeNat(),
  timestamp: fc.maxSafeNat(),
  id: text,
  key: fc.option(bytes),
  value: fc.option(bytes),
  headers: fc.array(
    fc.tuple(
      fc.constantFrom('source', 'sourcf', 'x', ''),
      text.map((value) => Buffer.from(value)),
    ),
  ),
});

describe('heads of records', () => {
  it('say what the records say', () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 20 }), fc.nat({ max: 20 }), (records, cut) => {
        const slices = [records.slice(0, cut), records.slice(cut)].map((part) =>
          encodeRecords(part).subarray(bodyHead(0).length),
        );
        const heads = decodeHeads(encodeHeads(slices, records.length, 'source'));
        expect(heads).toEqual(records.map((one) => headOf(one, 'source')));
      }),
    );
  });

  it('are refused when their bytes are cut or go on', () => {
    const [one] = fc.sample(record, { seed: 1, numRuns: 1 });
    if (one === undefined) throw new Error('fast-check gave no sample');
    const body = encodeHeads([encodeRecords([one]).subarray(bodyHead(0).length)], 1, 'source');
    for (let length = 0; length < body.length; length++) {
      expect(() => decodeHeads(body.subarray(0, length)), `${length} bytes`).toThrow(RecordFramesError);
    }
    expect(() => decodeHeads(Buffer.concat([body, Buffer.alloc(1)]))).toThrow(RecordFramesError);
  });

  describe('over HTTP', () => {
    let legs: Legs;
    beforeAll(async () => {
      legs = await Legs.start();
    });
    afterAll(() => legs.stop());

    it('are the same from a server that has whole records only', async () => {
      // Passes everything on but what the client accepts.
      const plain = createServer((incoming, outgoing) => {
        const headers = { ...incoming.headers };
        delete headers.accept;
        const passed = request(new URL(incoming.url ?? '/', legs.server.url), { method: incoming.method, headers });
        passed.on('response', (answer) => {
          outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(outgoing);
        });
        incoming.pipe(passed);
      });
      await new Promise<void>((resolve) => {
        plain.listen(0, '127.0.0.1', resolve);
      });
      const { port } = plain.address() as AddressInfo;
      const client = new OwlmqClient({ url: `http://127.0.0.1:${port}`, apiKey: 'test-key' });
      try {
        const topic = await legs.topic();
        await legs.toOwlmq(topic, messages(5));
        const heads = await legs.owlmq.readHeads(topic, 0, 1, 'custom', { maxRecords: 3 });
        expect(heads.heads.map(({ offset }) => offset)).toEqual([1, 2, 3]);
        expect(heads.heads[0]?.header).toMatch(/^of /);
        expect(await client.readHeads(topic, 0, 1, 'custom', { maxRecords: 3 })).toEqual(heads);
        expect((await legs.owlmq.readHeads(topic, 0, 0, 'absent')).heads[0]?.header).toBeUndefined();
      } finally {
        await client.close();
        plain.close();
      }
    });
  });
});

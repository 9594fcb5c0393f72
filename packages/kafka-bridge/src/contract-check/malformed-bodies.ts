import { encodeRecords, scanFrames, type Frame, type RecordToFrame } from '../contract/index.js';

/** Places in a frame, from its begin. */
const TIMESTAMP = 16;
const ID_LENGTH = 24;

/**
 * Bodies that break the layout of application/vnd.owlmq.records, each in one way, with a word for it. Most begin with a
 * sound record, which a server that writes as it reads would write.
 */
export function malformedBodies(record: () => RecordToFrame): [what: string, body: Buffer][] {
  /** Two sound records, of which an edit is told where the second one is. */
  const edited = (edit: (body: Buffer, second: Frame) => void): Buffer => {
    const body = encodeRecords([record(), record()]);
    const [, second] = scanFrames(body);
    if (second === undefined) throw new Error('Two records were encoded.');
    edit(body, second);
    return body;
  };
  const sound = (): Buffer => edited(() => undefined);
  return [
    ['no bytes', Buffer.alloc(0)],
    ['another magic', edited((body) => body.writeUInt32BE(0x4f574c02, 0))],
    ['a count of one more', edited((body) => body.writeUInt32BE(3, 4))],
    ['a count of one less', edited((body) => body.writeUInt32BE(1, 4))],
    ['a byte behind the last record', Buffer.concat([sound(), Buffer.alloc(1)])],
    ['the last byte missing', sound().subarray(0, -1)],
    [
      'a length beyond the body',
      edited((body, { start }) => {
        changeLength(body, start, 1);
      }),
    ],
    [
      'a length that is too short',
      edited((body, { start }) => {
        changeLength(body, start, -1);
      }),
    ],
    ['a negative time', edited((body, { start }) => body.writeInt32BE(-1, start + TIMESTAMP))],
    ['an id without bytes', withoutId(encodeRecords([record()]))],
    ['an id that is not UTF-8', edited((body, { idStart }) => body.writeUInt8(0xff, idStart))],
    ['a key length of -2', edited((body, { idEnd }) => body.writeInt32BE(-2, idEnd))],
    ['a key longer than the record', edited((body, { idEnd }) => body.writeInt32BE(1_000_000, idEnd))],
  ];
}

function changeLength(body: Buffer, at: number, by: number): void {
  body.writeUInt32BE(body.readUInt32BE(at) + by, at);
}

function withoutId(body: Buffer): Buffer {
  const [frame] = scanFrames(body);
  if (frame === undefined) throw new Error('A record was encoded.');
  const { start, idStart, idEnd } = frame;
  body.writeUInt16BE(0, start + ID_LENGTH);
  changeLength(body, start, idStart - idEnd);
  return Buffer.concat([body.subarray(0, idStart), body.subarray(idEnd)]);
}

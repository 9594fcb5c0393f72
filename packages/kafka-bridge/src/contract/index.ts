/**
 * The OwlMQ contract in types and bytes, without a client: what a server and a client have in common. The shapes are
 * generated from openapi/owlmq.yaml.
 */
import type { components } from './owlmq.gen.js';

/** The contract's JSON shapes, by the names of its schemas. */
export type Contract = components['schemas'];

export { requestSchemas } from './owlmq.gen.js';
export {
  BODY_HEAD_BYTES,
  bodyHead,
  decodeFetch,
  decodeRecords,
  encodeFetch,
  encodeRecords,
  FETCH_MEDIA_TYPE,
  frameBytes,
  frameBytesBound,
  RecordFramesError,
  RECORDS_MEDIA_TYPE,
  scanBareFrames,
  scanFrames,
  setFrameOffset,
} from './record-frames.js';
export type { Frame, FramedRecord, RecordToFrame } from './record-frames.js';
export { decodeHeads, encodeHeads, headOf, HEADS_MEDIA_TYPE } from './record-heads.js';
export type { RecordHead } from './record-heads.js';

// Generated from openapi/owlmq.yaml by scripts/generate-contract-types.mjs. Do not edit.

export interface components {
  schemas: {
    TopicName: string;
    /** @description Any text without control characters. */
    GroupName: string;
    /** @description Chosen by the client, or by the server where the client gives none. */
    MemberId: string;
    /** @description Idempotency key with the scope of the topic, at most 512 bytes of UTF-8. */
    RecordId: string;
    Offset: number;
    /** @description Layout under *Records* above. */
    RecordFrames: string;
    /** @description Layout under *Heads of records* above. */
    RecordHeads: string;
    /** @description Layout under *Fetched records* above; its head is a `FetchHead`. */
    FetchBody: string;
    Limits: {
      /** @description Records in one publish request. */
      maxBatchRecords: number;
      /** @description Bytes of one request body. */
      maxBatchBytes: number;
      /** @description Bytes of one record in its frame, `length` included. */
      maxRecordBytes: number;
      /** @description Ids in one look-up. */
      maxLookupIds: number;
      /** @description Most that `maxBytes` of a read or fetch has an effect for. */
      maxFetchBytes: number;
      /** @description Most that `waitMs` has an effect for. */
      maxWaitMs: number;
    };
    CreateTopic: {
      partitions: number;
    };
    TopicPartition: {
      topic: components['schemas']['TopicName'];
      partition: number;
    };
    Partition: {
      partition: number;
      /** @description Offset of the oldest record that is kept. */
      beginOffset: components['schemas']['Offset'];
      /** @description Offset that the next record will get. */
      endOffset: components['schemas']['Offset'];
    };
    Topic: {
      name: components['schemas']['TopicName'];
      /** @description By index. */
      partitions: components['schemas']['Partition'][];
    };
    TopicList: {
      topics: components['schemas']['Topic'][];
    };
    PartitionOffset: {
      partition: number;
      offset: components['schemas']['Offset'];
    };
    PublishResults: {
      /** @description One an entry, in the order of the entries. */
      results: components['schemas']['PublishResult'][];
    };
    PublishResult: components['schemas']['Accepted'] | components['schemas']['Rejected'];
    /** @description The record is on disk at this place. */
    Accepted: {
      /** @constant */
      ok: true;
      partition: number;
      offset: components['schemas']['Offset'];
      /** @description An earlier record has the same id; this is its place. */
      duplicate: boolean;
    };
    /** @description The record was not written. */
    Rejected: {
      /** @constant */
      ok: false;
      type: components['schemas']['ProblemType'];
      detail: string;
      /** @description Whether the same record could be accepted later. */
      retriable: boolean;
    };
    Lookup: {
      ids: components['schemas']['RecordId'][];
    };
    LookupResult: {
      places: (components['schemas']['PartitionOffset'] | null)[];
    };
    OffsetsForTime: {
      offsets: components['schemas']['Offset'][];
    };
    GroupList: {
      groups: components['schemas']['GroupName'][];
    };
    GroupOffset: {
      topic: components['schemas']['TopicName'];
      partition: number;
      /** @description Offset of the next record to consume. */
      offset: components['schemas']['Offset'];
    };
    GroupOffsets: {
      offsets: components['schemas']['GroupOffset'][];
    };
    CommittedOffset: {
      topic: components['schemas']['TopicName'];
      partition: number;
      /** @description Offset of the next record to consume. */
      offset: components['schemas']['Offset'];
      endOffset: components['schemas']['Offset'];
      /** @description End offset minus committed offset. */
      lag: number;
    };
    /** @enum {string} */
    GroupState: 'empty' | 'rebalancing' | 'stable';
    GroupMember: {
      memberId: components['schemas']['MemberId'];
      clientId: string;
      assignment: components['schemas']['TopicPartition'][];
    };
    Group: {
      name: components['schemas']['GroupName'];
      /** @description Only rises. */
      generation: number;
      state: components['schemas']['GroupState'];
      members: components['schemas']['GroupMember'][];
      /** @description Committed offsets with the partition's end; partitions without a commit are left out. */
      offsets: components['schemas']['CommittedOffset'][];
    };
    Join: {
      memberId?: components['schemas']['MemberId'];
      topics: components['schemas']['TopicName'][];
      /** @description Shown in descriptions of the group. */
      clientId: string;
      /** @description Length of the lease. */
      sessionTimeoutMs: number;
      /**
       * @description Where to begin on a partition without a commit. `latest` is resolved once, when the partition is first assigned,
       *     and committed then, so that a later rebalance skips nothing.
       * @enum {string}
       */
      offsetReset: 'earliest' | 'latest';
      /**
       * @description How long to wait for the assignment.
       * @default 5000
       */
      waitMs?: number;
    };
    AssignedPartition: {
      topic: components['schemas']['TopicName'];
      partition: number;
      /** @description Where to begin, which is the committed offset or what `offsetReset` says. */
      offset: components['schemas']['Offset'];
    };
    Membership: {
      memberId: components['schemas']['MemberId'];
      generation: number;
      /**
       * @description `rebalancing`: finish, commit, join again. `stable`: the assignment is the member's under this generation.
       * @enum {string}
       */
      state: 'rebalancing' | 'stable';
      /** @description Partitions that the member holds; none once it has joined again. */
      assignment: components['schemas']['AssignedPartition'][];
      /** @description How long the assignment is the member's own, counted from the sending of the request, unless it is renewed. */
      leaseMs: number;
    };
    Heartbeat: {
      generation: number;
    };
    Fetch: {
      generation: number;
      /** @description Where to read from, for each assigned partition that records are wanted of. */
      positions: components['schemas']['GroupOffset'][];
      /**
       * @description Over all partitions.
       * @default 1000
       */
      maxRecords?: number;
      /**
       * @description Over all partitions; about.
       * @default 1048576
       */
      maxBytes?: number;
      /** @default 0 */
      waitMs?: number;
    };
    FetchHead: {
      membership: components['schemas']['Membership'];
      partitions: components['schemas']['FetchedPartition'][];
    };
    FetchedPartition: {
      topic: components['schemas']['TopicName'];
      partition: number;
      /** @description Number of its records in this answer. */
      count: number;
      endOffset: components['schemas']['Offset'];
    };
    Commit: {
      generation: number;
      offsets: components['schemas']['GroupOffset'][];
    };
    /**
     * @description What is wrong, for programs.
     *
     *     | type | status | meaning |
     *     | --- | --- | --- |
     *     | `invalid-request` | 400 | body, parameter or header breaks the contract |
     *     | `malformed-records` | 400 | a record body breaks its layout |
     *     | `unauthorized` | 401 | API key missing or unknown |
     *     | `not-found` | 404 | no such path |
     *     | `method-not-allowed` | 405 | the path has no such method |
     *     | `unknown-topic`, `unknown-partition`, `unknown-group` | 404 | no such thing |
     *     | `topic-exists` | 409 | it exists with another number of partitions |
     *     | `group-not-empty` | 409 | offsets of a group with members cannot be set |
     *     | `stale-generation` | 409 | the generation is over, or the member was removed |
     *     | `too-large` | 413 | over a limit of the server; in a result of an entry: over `maxRecordBytes` |
     *     | `unsupported-media-type` | 415 | body of another media type |
     *     | `offset-out-of-range` | 422 | before the begin offset or past the end offset |
     *     | `key-blocked` | in results only | an earlier entry of the same key failed in this batch |
     *     | `throttled` | 429 | too much at once; nothing was done |
     *     | `internal` | 500 | a defect of the server |
     *     | `unavailable` | 503 | the server stops, or its storage failed |
     * @enum {string}
     */
    ProblemType:
      | 'invalid-request'
      | 'malformed-records'
      | 'unauthorized'
      | 'not-found'
      | 'method-not-allowed'
      | 'unknown-topic'
      | 'unknown-partition'
      | 'unknown-group'
      | 'topic-exists'
      | 'group-not-empty'
      | 'stale-generation'
      | 'too-large'
      | 'unsupported-media-type'
      | 'offset-out-of-range'
      | 'key-blocked'
      | 'throttled'
      | 'internal'
      | 'unavailable';
    /** @description An error after RFC 9457. */
    Problem: {
      type: components['schemas']['ProblemType'];
      /** @description The type in words. */
      title: string;
      status: number;
      /** @description What was wrong with this request, and what to do. */
      detail: string;
      /** @description With `group-not-empty`, the ids of the members. */
      members?: string[];
      /** @description With `offset-out-of-range`, where. */
      topic?: string;
      /** @description With `offset-out-of-range`, where. */
      partition?: number;
      /** @description With `offset-out-of-range`. */
      beginOffset?: components['schemas']['Offset'];
      /** @description With `offset-out-of-range`. */
      endOffset?: components['schemas']['Offset'];
    };
  };
  responses: {
    /** @description The request breaks the contract (`invalid-request`, `malformed-records`). */
    BadRequest: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description The API key is missing or unknown (`unauthorized`). */
    Unauthorized: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description No such topic, partition or group (`unknown-topic`, `unknown-partition`, `unknown-group`). */
    NotFound: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description The body or the batch is over a limit (`too-large`). */
    TooLarge: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description The body is of another media type (`unsupported-media-type`). */
    UnsupportedMediaType: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description The generation is over, or the member was removed (`stale-generation`). Join again. */
    StaleGeneration: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description An offset is before the begin or past the end of its partition (`offset-out-of-range`). */
    OffsetOutOfRange: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description Too much at once (`throttled`). Nothing was done; repeat after `Retry-After`. */
    Throttled: {
      headers: {
        'Retry-After': components['headers']['RetryAfter'];
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /**
     * @description The server cannot answer now, for example because it stops (`unavailable`). What was asked may or may not have been
     *     done; repeat after `Retry-After`.
     */
    Unavailable: {
      headers: {
        'Retry-After': components['headers']['RetryAfter'];
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description The membership. */
    Membership: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/json': components['schemas']['Membership'];
      };
    };
  };
  parameters: {
    Topic: components['schemas']['TopicName'];
    Group: components['schemas']['GroupName'];
    MemberId: components['schemas']['MemberId'];
  };
  requestBodies: never;
  headers: {
    /** @description Seconds to wait before the next attempt. */
    RetryAfter: number;
  };
  pathItems: never;
}

/** JSON schemas of what requests carry, with references resolved. */
export const requestSchemas = {
  TopicName: { type: 'string', minLength: 1, maxLength: 249, pattern: '^(?!\\.{1,2}$)[a-zA-Z0-9._-]+$' },
  GroupName: {
    description: 'Any text without control characters.',
    type: 'string',
    minLength: 1,
    maxLength: 249,
    pattern: '^(?!\\.{1,2}$)[^\\u0000-\\u001f\\u007f]+$',
  },
  MemberId: {
    description: 'Chosen by the client, or by the server where the client gives none.',
    type: 'string',
    minLength: 1,
    maxLength: 249,
    pattern: '^(?!\\.{1,2}$)[^\\u0000-\\u001f\\u007f]+$',
  },
  Offset: { type: 'integer', minimum: 0, maximum: 9007199254740991 },
  CreateTopic: {
    type: 'object',
    additionalProperties: false,
    required: ['partitions'],
    properties: { partitions: { type: 'integer', minimum: 1, maximum: 10000 } },
  },
  Lookup: {
    type: 'object',
    additionalProperties: false,
    required: ['ids'],
    properties: {
      ids: {
        type: 'array',
        items: {
          description: 'Idempotency key with the scope of the topic, at most 512 bytes of UTF-8.',
          type: 'string',
          minLength: 1,
          maxLength: 512,
        },
      },
    },
  },
  GroupOffsets: {
    type: 'object',
    additionalProperties: false,
    required: ['offsets'],
    properties: {
      offsets: {
        type: 'array',
        minItems: 1,
        items: {
          type: 'object',
          additionalProperties: false,
          required: ['topic', 'partition', 'offset'],
          properties: {
            topic: { type: 'string', minLength: 1, maxLength: 249, pattern: '^(?!\\.{1,2}$)[a-zA-Z0-9._-]+$' },
            partition: { type: 'integer', minimum: 0 },
            offset: {
              description: 'Offset of the next record to consume.',
              type: 'integer',
              minimum: 0,
              maximum: 9007199254740991,
            },
          },
        },
      },
    },
  },
  Join: {
    type: 'object',
    additionalProperties: false,
    required: ['topics', 'clientId', 'sessionTimeoutMs', 'offsetReset'],
    properties: {
      memberId: {
        description: 'Chosen by the client, or by the server where the client gives none.',
        type: 'string',
        minLength: 1,
        maxLength: 249,
        pattern: '^(?!\\.{1,2}$)[^\\u0000-\\u001f\\u007f]+$',
      },
      topics: {
        type: 'array',
        minItems: 1,
        maxItems: 1000,
        items: { type: 'string', minLength: 1, maxLength: 249, pattern: '^(?!\\.{1,2}$)[a-zA-Z0-9._-]+$' },
      },
      clientId: { type: 'string', maxLength: 249, description: 'Shown in descriptions of the group.' },
      sessionTimeoutMs: { type: 'integer', minimum: 100, maximum: 3600000, description: 'Length of the lease.' },
      offsetReset: {
        description:
          'Where to begin on a partition without a commit. `latest` is resolved once, when the partition is first assigned,\nand committed then, so that a later rebalance skips nothing.\n',
        type: 'string',
        enum: ['earliest', 'latest'],
      },
      waitMs: { type: 'integer', minimum: 0, default: 5000, description: 'How long to wait for the assignment.' },
    },
  },
  Heartbeat: {
    type: 'object',
    additionalProperties: false,
    required: ['generation'],
    properties: { generation: { type: 'integer', minimum: 0 } },
  },
  Fetch: {
    type: 'object',
    additionalProperties: false,
    required: ['generation', 'positions'],
    properties: {
      generation: { type: 'integer', minimum: 0 },
      positions: {
        description: 'Where to read from, for each assigned partition that records are wanted of.',
        type: 'array',
        items: {
          type: 'object',
          additionalProperties: false,
          required: ['topic', 'partition', 'offset'],
          properties: {
            topic: { type: 'string', minLength: 1, maxLength: 249, pattern: '^(?!\\.{1,2}$)[a-zA-Z0-9._-]+$' },
            partition: { type: 'integer', minimum: 0 },
            offset: {
              description: 'Offset of the next record to consume.',
              type: 'integer',
              minimum: 0,
              maximum: 9007199254740991,
            },
          },
        },
      },
      maxRecords: { type: 'integer', minimum: 1, default: 1000, description: 'Over all partitions.' },
      maxBytes: { type: 'integer', minimum: 1, default: 1048576, description: 'Over all partitions; about.' },
      waitMs: { type: 'integer', minimum: 0, default: 0 },
    },
  },
  Commit: {
    type: 'object',
    additionalProperties: false,
    required: ['generation', 'offsets'],
    properties: {
      generation: { type: 'integer', minimum: 0 },
      offsets: {
        type: 'array',
        items: {
          type: 'object',
          additionalProperties: false,
          required: ['topic', 'partition', 'offset'],
          properties: {
            topic: { type: 'string', minLength: 1, maxLength: 249, pattern: '^(?!\\.{1,2}$)[a-zA-Z0-9._-]+$' },
            partition: { type: 'integer', minimum: 0 },
            offset: {
              description: 'Offset of the next record to consume.',
              type: 'integer',
              minimum: 0,
              maximum: 9007199254740991,
            },
          },
        },
      },
    },
  },
} as const;

// Generated from openapi/owlmq.yaml by scripts/generate-contract-types.mjs. Do not edit.

export interface paths {
  '/v1/limits': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** What the server accepts in one request */
    get: operations['getLimits'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/topics': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** All topics with the offsets of their partitions */
    get: operations['listTopics'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/topics/{topic}': {
    parameters: {
      query?: never;
      header?: never;
      path: {
        topic: components['parameters']['Topic'];
      };
      cookie?: never;
    };
    /** A topic with the offsets of its partitions */
    get: operations['describeTopic'];
    /**
     * Creates a topic unless it exists
     * @description The number of partitions cannot be changed later.
     */
    put: operations['createTopic'];
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/topics/{topic}/records': {
    parameters: {
      query?: never;
      header?: never;
      path: {
        topic: components['parameters']['Topic'];
      };
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Writes a batch of records
     * @description See *Publishing* above. An accepted entry is on disk when the answer is sent.
     */
    post: operations['publish'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/topics/{topic}/lookup': {
    parameters: {
      query?: never;
      header?: never;
      path: {
        topic: components['parameters']['Topic'];
      };
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Where the records with these idempotency keys are */
    post: operations['lookup'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/topics/{topic}/partitions/{partition}/records': {
    parameters: {
      query?: never;
      header?: never;
      path: {
        topic: components['parameters']['Topic'];
        partition: number;
      };
      cookie?: never;
    };
    /**
     * Reads a partition from an offset on
     * @description Answers with the records from `offset` on, up to `maxRecords` and about `maxBytes`, but at least one when there is
     *     one. At the end of the partition it waits up to `waitMs` for a first record, then answers with none.
     */
    get: operations['readRecords'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/topics/{topic}/offsets': {
    parameters: {
      query?: never;
      header?: never;
      path: {
        topic: components['parameters']['Topic'];
      };
      cookie?: never;
    };
    /**
     * First offset of each partition whose record is at or after a time
     * @description Message times need not rise. The end offset is given where no record is at or after the time.
     */
    get: operations['offsetsForTime'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/groups': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Names of all groups that have members or committed offsets */
    get: operations['listGroups'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/groups/{group}': {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
      };
      cookie?: never;
    };
    /** Members, generation, committed offsets and lag of a group */
    get: operations['describeGroup'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/groups/{group}/offsets': {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
      };
      cookie?: never;
    };
    get?: never;
    /**
     * Sets committed offsets of a group without members
     * @description All or none. Partitions that are not named keep theirs. Creates the group when it is unknown. Refused with 409
     *     while the group has members, and with 422 for an offset past the end of its partition.
     */
    put: operations['setGroupOffsets'];
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/groups/{group}/members': {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
      };
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Joins a group, or joins again in a rebalance
     * @description Answers with `stable` as soon as the member has its assignment. When other members have not joined again within
     *     `waitMs`, answers with `rebalancing`: join again with the same `memberId` to go on waiting. A join of a member
     *     that already waits changes nothing.
     */
    post: operations['joinGroup'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/groups/{group}/members/{memberId}': {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
        memberId: components['parameters']['MemberId'];
      };
      cookie?: never;
    };
    get?: never;
    put?: never;
    post?: never;
    /** Leaves the group */
    delete: operations['leaveGroup'];
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/groups/{group}/members/{memberId}/heartbeat': {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
        memberId: components['parameters']['MemberId'];
      };
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Renews the member's lease */
    post: operations['heartbeat'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/groups/{group}/members/{memberId}/fetch': {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
        memberId: components['parameters']['MemberId'];
      };
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Records of the member's partitions
     * @description Renews the lease. Waits up to `waitMs` for a first record; the server waits for at most a third of the member's
     *     `sessionTimeoutMs`. Answers at once, without records, when a rebalance is announced.
     */
    post: operations['fetch'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/groups/{group}/members/{memberId}/commit': {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
        memberId: components['parameters']['MemberId'];
      };
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Commits the offsets of the next records to consume
     * @description All or none, on disk when answered. Accepted under the member's generation, also while a rebalance is announced;
     *     refused with 409 `stale-generation` afterwards and for partitions that are not the member's.
     */
    post: operations['commit'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
}
export type webhooks = Record<string, never>;
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
export type $defs = Record<string, never>;
export interface operations {
  getLimits: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Limits. They do not change while the server runs. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Limits'];
        };
      };
      401: components['responses']['Unauthorized'];
      503: components['responses']['Unavailable'];
    };
  };
  listTopics: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Topics by name. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['TopicList'];
        };
      };
      401: components['responses']['Unauthorized'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  describeTopic: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        topic: components['parameters']['Topic'];
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The topic. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Topic'];
        };
      };
      401: components['responses']['Unauthorized'];
      404: components['responses']['NotFound'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  createTopic: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        topic: components['parameters']['Topic'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['CreateTopic'];
      };
    };
    responses: {
      /** @description It exists already with this number of partitions; nothing changed. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Topic'];
        };
      };
      /** @description Created. */
      201: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Topic'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      /** @description It exists with another number of partitions (`topic-exists`). */
      409: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  publish: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        topic: components['parameters']['Topic'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/vnd.owlmq.records': components['schemas']['RecordFrames'];
      };
    };
    responses: {
      /** @description One result an entry, in the order of the entries. Some may be problems. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['PublishResults'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      404: components['responses']['NotFound'];
      413: components['responses']['TooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  lookup: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        topic: components['parameters']['Topic'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['Lookup'];
      };
    };
    responses: {
      /** @description One place an id, in the order of the ids; null where the topic has no such record. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['LookupResult'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      404: components['responses']['NotFound'];
      413: components['responses']['TooLarge'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  readRecords: {
    parameters: {
      query: {
        offset: components['schemas']['Offset'];
        maxRecords?: number;
        maxBytes?: number;
        /** @description The server may wait for less, see `maxWaitMs` of the limits. */
        waitMs?: number;
      };
      header?: never;
      path: {
        topic: components['parameters']['Topic'];
        partition: number;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Records in offset order, perhaps none. */
      200: {
        headers: {
          /** @description End offset of the partition at the time of the answer. */
          'OwlMQ-End-Offset': components['schemas']['Offset'];
          [name: string]: unknown;
        };
        content: {
          'application/vnd.owlmq.records': components['schemas']['RecordFrames'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      404: components['responses']['NotFound'];
      422: components['responses']['OffsetOutOfRange'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  offsetsForTime: {
    parameters: {
      query: {
        time: number;
      };
      header?: never;
      path: {
        topic: components['parameters']['Topic'];
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description One offset a partition, by index. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['OffsetsForTime'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      404: components['responses']['NotFound'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  listGroups: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Names. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['GroupList'];
        };
      };
      401: components['responses']['Unauthorized'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  describeGroup: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The group. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Group'];
        };
      };
      401: components['responses']['Unauthorized'];
      404: components['responses']['NotFound'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  setGroupOffsets: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['GroupOffsets'];
      };
    };
    responses: {
      /** @description Set. */
      204: {
        headers: {
          [name: string]: unknown;
        };
        content?: never;
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      404: components['responses']['NotFound'];
      /** @description The group has members (`group-not-empty`); the problem names them. */
      409: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      422: components['responses']['OffsetOutOfRange'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  joinGroup: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['Join'];
      };
    };
    responses: {
      200: components['responses']['Membership'];
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      404: components['responses']['NotFound'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  leaveGroup: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
        memberId: components['parameters']['MemberId'];
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The member is not in the group any more. */
      204: {
        headers: {
          [name: string]: unknown;
        };
        content?: never;
      };
      401: components['responses']['Unauthorized'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  heartbeat: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
        memberId: components['parameters']['MemberId'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['Heartbeat'];
      };
    };
    responses: {
      200: components['responses']['Membership'];
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      409: components['responses']['StaleGeneration'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  fetch: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
        memberId: components['parameters']['MemberId'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['Fetch'];
      };
    };
    responses: {
      /** @description The membership and the records, which may be none. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/vnd.owlmq.fetch': components['schemas']['FetchBody'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      409: components['responses']['StaleGeneration'];
      422: components['responses']['OffsetOutOfRange'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
  commit: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        group: components['parameters']['Group'];
        memberId: components['parameters']['MemberId'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['Commit'];
      };
    };
    responses: {
      /** @description Committed. */
      204: {
        headers: {
          [name: string]: unknown;
        };
        content?: never;
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      409: components['responses']['StaleGeneration'];
      422: components['responses']['OffsetOutOfRange'];
      429: components['responses']['Throttled'];
      503: components['responses']['Unavailable'];
    };
  };
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

import { once } from 'node:events';
import { request, type IncomingMessage, type RequestOptions } from 'node:http';
import fc from 'fast-check';

/** A route with its path's parameters in braces, and names that may be in a body of it. */
export interface FuzzedRoute {
  method: string;
  path: string;
  fields?: readonly string[];
  /** Media type of its body (default JSON). */
  type?: string;
}

/** A request that nobody who read the API would send. */
export interface FuzzedRequest {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: Buffer | undefined;
}

export interface FuzzedAnswer {
  status: number;
  type: string;
  text: string;
}

const ANSWER_WITHIN_MS = 20_000;

const oddText = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    ...['', '.', '..', '%', '%00', '%zz', '__proto__', 'constructor', 'toString', 'known', '0', '-1', 'NaN', 'true'],
    ...['1e3', '0x10', '99999999999999999999', '\u0000', '\r\nx: y', '../../etc', "';--", 'a'.repeat(5_000)],
  ),
);
const oddNumber = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.constantFrom(-1, 0.5, 1e308, Number.MAX_SAFE_INTEGER, 2 ** 53, -(2 ** 63)),
);
const oddValue: fc.Arbitrary<unknown> = fc.oneof(
  oddText,
  oddNumber,
  fc.constantFrom(null, true, {}, []),
  fc.jsonValue({ maxDepth: 3 }),
);

/** Objects with some of the names, and names that objects have by themselves. */
function oddObject(fields: readonly string[]): fc.Arbitrary<string> {
  const names = [...fields, '__proto__', 'constructor', 'hasOwnProperty'];
  const entry = fc.tuple(fc.constantFrom(...names), fc.oneof(oddValue, fc.array(oddValue, { maxLength: 3 })));
  const pairs = fc.array(entry, { maxLength: 8 });
  // By hand: an object that is assigned to has no own `__proto__`.
  const written = pairs.map(
    (of) => `{${of.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`,
  );
  const nested = fc
    .tuple(fc.constantFrom(...names), fc.array(written, { maxLength: 3 }))
    .map(([name, objects]) => `{${JSON.stringify(name)}:[${objects.join(',')}]}`);
  return fc.oneof(written, nested);
}

function oddBody(fields: readonly string[]): fc.Arbitrary<Buffer | undefined> {
  const bytes = (text: string): Buffer => Buffer.from(text);
  return fc.oneof(
    { weight: 5, arbitrary: oddObject(fields).map(bytes) },
    { weight: 2, arbitrary: oddValue.map((value) => bytes(JSON.stringify(value))) },
    { weight: 1, arbitrary: fc.tuple(oddObject(fields), fc.nat(100)).map(([text, cut]) => bytes(text.slice(0, -cut))) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 2_000 }).map((some) => Buffer.from(some)) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('['.repeat(50_000), '{"a":'.repeat(20_000), `{"a":1e${'9'.repeat(1_000)}}`).map(bytes),
    },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );
}

/** Requests near to what the routes take. No one of them waits: `waitMs` is not among the names. */
export function fuzzedRequests(routes: readonly FuzzedRoute[], token: string): fc.Arbitrary<FuzzedRequest> {
  return fc.constantFrom(...routes).chain(({ method, path, fields = [], type = 'application/json' }) =>
    fc.record({
      method: fc.oneof({ weight: 9, arbitrary: fc.constant(method) }, { weight: 1, arbitrary: fc.constant('PATCH') }),
      path: fc
        .tuple(
          fc.array(fc.oneof(fc.constant('known'), fc.constant('0'), oddText), { minLength: 4, maxLength: 4 }),
          fc.array(fc.tuple(fc.constantFrom('offset', 'maxRecords', 'maxBytes', 'header', 'x'), oddText), {
            maxLength: 3,
          }),
        )
        .map(([parts, query]) => {
          const at = parts.values();
          const filled = path.replace(/\{\w+\}/g, () => encodeURIComponent(at.next().value ?? '').slice(0, 9_000));
          const search = query.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
          return search === '' ? filled : `${filled}?${search}`;
        }),
      headers: fc
        .record({
          authorization: fc.oneof(
            { weight: 19, arbitrary: fc.constant(`Bearer ${token}`) },
            { weight: 1, arbitrary: fc.constantFrom('', 'Bearer', 'Bearer x', 'Basic eDp5') },
          ),
          type: fc.oneof(
            { weight: 8, arbitrary: fc.constant(type) },
            { weight: 1, arbitrary: fc.constantFrom('', 'text/csv', 'application/json; charset=x', 'a/b/c', '*/*') },
          ),
          long: fc.oneof({ weight: 19, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(20_000) }),
        })
        .map(({ authorization, type: given, long }) => ({
          ...{ authorization, 'content-type': given },
          ...(long === 0 ? {} : { 'x-long': 'x'.repeat(long) }),
        })),
      body: method === 'GET' ? fc.constant(undefined) : oddBody(fields),
    }),
  );
}

/** Sends a request as it is, and reads the answer. Rejects when the server gives none. */
export async function sendFuzzed(url: string, { method, path, headers, body }: FuzzedRequest): Promise<FuzzedAnswer> {
  const { hostname, port } = new URL(url);
  const options: RequestOptions = { hostname, port, method, path, headers };
  const one = request({ ...options, agent: false, signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  // A server that refuses the headers closes at once: what is still sent then would cost its answer.
  one.end('x-long' in headers ? undefined : body);
  const [answer] = (await once(one, 'response')) as [IncomingMessage];
  const text = Buffer.concat((await answer.toArray()) as Buffer[]).toString();
  return { status: answer.statusCode ?? 0, type: answer.headers['content-type'] ?? '', text };
}

/** How many requests a property makes: `FUZZ_RUNS` in the environment for more. */
export function fuzzRuns(): fc.Parameters<unknown> {
  const { FUZZ_RUNS, FUZZ_SEED } = process.env;
  const seed = FUZZ_SEED === undefined ? Date.now() & 0x7fff_ffff : Number(FUZZ_SEED);
  console.info(`fuzz seed ${seed}`);
  return { numRuns: FUZZ_RUNS === undefined ? 150 : Number(FUZZ_RUNS), seed };
}

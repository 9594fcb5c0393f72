import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { execa } from 'execa';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';

const root = join(import.meta.dirname, '..');

const serviceSchema = z.object({
  image: z.string(),
  build: z.object({ context: z.string(), target: z.string() }).optional(),
  restart: z.string(),
  entrypoint: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).default({}),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  configs: z.array(z.object({ source: z.string(), target: z.string() })).default([]),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  healthcheck: z.object({ test: z.array(z.string()) }).optional(),
});
const composeSchema = z.object({
  services: z.record(z.string(), serviceSchema),
  configs: z.record(z.string(), z.object({ file: z.string() })),
  volumes: z.record(z.string(), z.null()),
});
type Compose = z.output<typeof composeSchema>;

/** An instruction of a Dockerfile, joined where it goes on in the next line. */
interface Instruction {
  keyword: string;
  rest: string;
}

function instructionsOf(dockerfile: string): Instruction[] {
  return dockerfile
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [keyword = '', ...rest] = line.split(' ');
      return { keyword, rest: rest.join(' ') };
    });
}

/** The stages of a Dockerfile by name, each with what it inherits. */
function stagesOf(instructions: readonly Instruction[]): Map<string, Instruction[]> {
  const stages = new Map<string, Instruction[]>();
  let stage: Instruction[] = [];
  for (const instruction of instructions) {
    if (instruction.keyword !== 'FROM') {
      stage.push(instruction);
      continue;
    }
    const [base = '', , name = ''] = instruction.rest.split(' ');
    stage = [...(stages.get(base) ?? [])];
    stages.set(name, stage);
  }
  return stages;
}

describe('docker-compose.yml', () => {
  let text: string;
  let document: unknown;
  let compose: Compose;
  let stages: Map<string, Instruction[]>;
  let instructions: Instruction[];

  beforeAll(async () => {
    text = await readFile(join(root, 'docker-compose.yml'), 'utf8');
    document = parse(text, { merge: true });
    compose = composeSchema.parse(document);
    instructions = instructionsOf(await readFile(join(root, 'Dockerfile'), 'utf8'));
    stages = stagesOf(instructions);
  });

  it('keeps the compose specification', async () => {
    const schema = JSON.parse(await readFile(join(root, 'test/compose-spec/compose-spec.json'), 'utf8')) as object;
    const validate = new Ajv2020({ strict: false, validateFormats: false }).compile(schema);
    expect(validate(document) ? [] : validate.errors).toEqual([]);
    expect(validate({ services: { one: { image: 'a', healthchek: {} } } })).toBe(false);
  });

  it('is understood by docker compose, where that is installed', async ({ skip }) => {
    const { failed } = await execa('docker', ['compose', 'version'], { reject: false });
    skip(failed, 'docker compose is not installed');
    const env = { OWLMQ_API_KEY: 'a', POSTGRES_PASSWORD: 'b', GRAFANA_PASSWORD: 'c' };
    await execa('docker', ['compose', '--file', join(root, 'docker-compose.yml'), 'config', '--quiet'], { env });
  });

  it('pins what it runs, and restarts and watches it', () => {
    for (const [name, { image, build, restart, healthcheck }] of Object.entries(compose.services)) {
      expect(image, name).toMatch(/^[a-z0-9./-]+:v?\d+\.\d+[\w.-]*$/);
      const isTask = restart.startsWith('on-failure');
      expect(isTask || restart === 'unless-stopped', name).toBe(true);
      const ofImage = build !== undefined && stages.get(build.target)?.some(({ keyword }) => keyword === 'HEALTHCHECK');
      // Temporal's UI has no program in its image that could ask.
      if (!isTask && name !== 'temporal-ui') expect(healthcheck !== undefined || ofImage === true, name).toBe(true);
    }
  });

  it('is open to this machine alone', () => {
    for (const { ports } of Object.values(compose.services))
      for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  it('has no secret in it, and says which ones it takes', () => {
    for (const { environment } of Object.values(compose.services)) {
      for (const [name, value] of Object.entries(environment)) {
        if (/PASSWORD|PWD|TOKEN|SECRET|_KEYS?$/.test(name)) expect(value, name).toMatch(/^\$\{\w+:[?-]/);
      }
    }
    const head = text.slice(0, text.indexOf('\nname:'));
    const taken = [...text.matchAll(/\$\{(\w+)/g)].map(([, name = '']) => name);
    expect(taken.length).toBeGreaterThan(5);
    for (const name of taken) expect(head).toContain(name);
  });

  it('names only what there is', async () => {
    const { services, volumes, configs } = compose;
    const used = Object.values(services).flatMap((service) => service.volumes.map((volume) => volume.split(':')[0]));
    expect([...new Set(used)].sort()).toEqual(Object.keys(volumes).sort());
    const sources = Object.values(services).flatMap((service) => service.configs.map(({ source }) => source));
    expect(sources.sort()).toEqual(Object.keys(configs).sort());
    for (const { file } of Object.values(configs)) await access(join(root, file));
    for (const [name, { depends_on: dependencies }] of Object.entries(services)) {
      for (const [other, { condition }] of Object.entries(dependencies)) {
        expect(services, name).toHaveProperty(other);
        if (condition === 'service_completed_successfully') expect(services[other]?.restart).toMatch(/^on-failure/);
      }
    }
    const { scrape_configs: jobs } = z
      .object({ scrape_configs: z.array(z.object({ job_name: z.string() })) })
      .parse(parse(await readFile(join(root, 'observability/prometheus.yml'), 'utf8')));
    for (const { job_name: job } of jobs) expect(services).toHaveProperty([job]);
  });

  it('is built from a Dockerfile that has what it starts, by nobody who is root', async () => {
    const built = Object.values(compose.services).flatMap(({ build }) => (build === undefined ? [] : [build.target]));
    expect(new Set(built)).toEqual(new Set(['owlmq-local', 'worker']));
    for (const target of built) {
      const stage = stages.get(target) ?? [];
      expect(stage.findLast(({ keyword }) => keyword === 'USER')?.rest).toBe('node');
    }
    const [base] = instructions.filter(({ keyword }) => keyword === 'ARG');
    expect(base?.rest).toMatch(/^NODE_IMAGE=node:\d+\.\d+\.\d+-\w+-slim$/);

    const { scripts } = z
      .object({ scripts: z.record(z.string(), z.string()) })
      .parse(JSON.parse(await readFile(join(root, 'package.json'), 'utf8')));
    const run = instructions.filter(({ keyword }) => keyword === 'RUN').map(({ rest }) => rest);
    for (const [, script = ''] of run.join('\n').matchAll(/npm run (\S+)/g)) expect(scripts).toHaveProperty([script]);
    const copied = instructions.filter(({ keyword, rest }) => keyword === 'COPY' && !rest.startsWith('--from'));
    const ignored = await readFile(join(root, '.dockerignore'), 'utf8');
    for (const path of copied.flatMap(({ rest }) => rest.split(' ').slice(0, -1))) {
      await access(join(root, path));
      expect(ignored).toMatch(new RegExp(`^!${path.split('/')[0] ?? ''}$`, 'm'));
    }
    // Programs are named as they are built: dist/demo/traffic.js comes of demo/traffic.ts.
    const started = [
      ...instructions.filter(({ keyword }) => keyword === 'ENTRYPOINT').map(({ rest }) => JSON.parse(rest) as string[]),
      ...Object.values(compose.services).flatMap(({ entrypoint }) => (entrypoint?.[0] === 'node' ? [entrypoint] : [])),
    ];
    expect(started).toHaveLength(3);
    for (const [, program = ''] of started) {
      await access(join(root, program.replace(/^dist\/(.*)\.js$/, '$1.ts')));
    }
  });
});

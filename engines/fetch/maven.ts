import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onPath, runLong } from '../process/run-command.js';
import { versions } from '../find/versions.js';

/** `group:artifact:version`, as Maven writes it. */
export type Coordinate = `${string}:${string}:${string}`;

/**
 * Fills `folder`/libs with these artifacts and all they need at run time, through the user's own Maven: its mirrors,
 * proxies and local repository apply.
 * @throws Error when there is no Maven, or it fails.
 */
export async function fetchWithMaven(
  coordinates: readonly Coordinate[],
  folder: string,
  signal?: AbortSignal,
): Promise<void> {
  const maven = await onPath('mvn');
  if (maven === undefined) throw new Error('Maven (mvn) is not on PATH');
  const pom = join(folder, 'pom.xml');
  const logFile = join(folder, 'maven.log');
  const libs = join(folder, 'libs');
  await mkdir(libs);
  await writeFile(pom, project(coordinates));
  const plugin = `org.apache.maven.plugins:maven-dependency-plugin:${versions.mavenDependencyPlugin}`;
  const args = ['--batch-mode', '--quiet', '--strict-checksums', '--file', pom, `${plugin}:copy-dependencies`];
  await runLong(
    {
      file: maven,
      args: [...args, `-DoutputDirectory=${libs}`, '-DincludeScope=runtime'],
      cwd: folder,
    },
    { name: 'mvn', logFile, signal, timeoutMs: 15 * 60_000, removeIfKilled: folder },
  );
  if ((await readdir(libs)).length === 0) throw new Error('Maven copied nothing');
  await rm(logFile);
}

function project(coordinates: readonly Coordinate[]): string {
  const dependencies = coordinates.map((coordinate) => {
    const [group, artifact, version] = coordinate.split(':');
    return `<dependency><groupId>${group ?? ''}</groupId><artifactId>${artifact ?? ''}</artifactId><version>${version ?? ''}</version></dependency>`;
  });
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>engines</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>${dependencies.join('\n    ')}</dependencies>
</project>
`;
}

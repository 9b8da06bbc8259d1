/** Contenders, measured in turn: A B C, A B C, each round on fresh mounts. */
import { mkdirSync } from 'node:fs';
import { runChecksum, runTimedTask, type TaskRun } from '../src/cli/bench/run-task.ts';
import type { Checksum, TimedResult, TimedTask, Workload as ReadWorkload } from '../src/cli/bench/tasks.ts';
import type { Progress } from '../src/cli/demo/progress.ts';
import { RANDOM_READS_MAX } from '../src/cli/bench/limits.ts';
import { Company } from './company.ts';
import { BASE } from './contenders/all.ts';
import type { Contender, OpenContender } from './contenders/contender.ts';
import type { Tree } from './files.ts';
import type { Entrant, Measured, Settings, Standing } from './findings.ts';
import { SEQUENTIAL_SECONDS_MAX } from './limits.ts';
import { builtProgram } from './package-root.ts';
import { isWriting, WORKLOADS, type Workload } from './workloads.ts';
import { Writing } from './writing/course.ts';

export interface Course {
  readonly workDirectory: string;
  readonly tree: Tree;
  readonly settings: Settings;
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/** A contender that takes part. */
interface Runner {
  readonly contender: Contender;
  readonly company: Company;
  readonly open: OpenContender;
  /** Where the tree is found in this round. */
  root: string;
}

export interface Outcome {
  readonly entrants: readonly Entrant[];
  readonly measurements: readonly Measured[];
  readonly checkedBytes: number;
}

export class Rounds {
  readonly #course: Course;
  readonly #run: TaskRun;
  readonly #writing: Writing;
  readonly #companies: Company[] = [];
  readonly #standings = new Map<Contender, Standing>();
  #runners: Runner[] = [];

  constructor(course: Course) {
    this.#course = course;
    const { workDirectory, tree, settings, signal } = course;
    this.#writing = new Writing({
      workDirectory,
      signal,
      source: tree.root,
      writeBytes: settings.writeBytes,
      packed: tree.smallDirectory,
      packedFiles: tree.small,
    });
    this.#run = { signal: course.signal, worker: builtProgram('cli/bench/worker.js') };
  }

  /** Rejects only when the files themselves cannot be read, or when it is told to stop. */
  async run(contenders: readonly Contender[]): Promise<Outcome> {
    const { progress, settings } = this.#course;
    const opening = progress.phase('starting contenders', contenders.length);
    for (const contender of contenders) {
      await this.#open(contender);
      opening.advance(1);
    }
    const checking = progress.phase('comparing checksums', this.#runners.length);
    const checkedBytes = await this.#check(() => checking.advance(1));
    const measured = WORKLOADS.reduce((sum, workload) => sum + this.#runnersOf(workload).length, 0);
    const timing = progress.phase('measuring', settings.rounds * measured);
    const measurements: Measured[] = [];
    for (let round = 1; round <= settings.rounds; round += 1) {
      await this.#mountAll(`round-${round}`, 'failed');
      for (const workload of WORKLOADS) {
        measurements.push(...(await this.#measure(round, workload, () => timing.advance(1))));
      }
      await this.#unmountAll();
    }
    return {
      measurements,
      checkedBytes,
      entrants: contenders.map((contender) => ({
        name: contender.name,
        title: contender.title,
        standing: this.#standings.get(contender) ?? { state: 'measured' },
      })),
    };
  }

  /** Ends every process of every contender. */
  async end(): Promise<void> {
    for (const company of this.#companies.splice(0)) await company.end();
  }

  async #open(contender: Contender): Promise<void> {
    const { workDirectory, tree, signal } = this.#course;
    const missing = contender.requirements.filter(({ isPresent }) => !isPresent());
    if (missing.length > 0) {
      this.#standings.set(contender, {
        state: 'missing',
        reason: `not installed: ${missing.map(({ what }) => what).join(', ')}`,
        install: [...new Set(missing.map(({ install }) => install))],
      });
      return;
    }
    const company = new Company(contender.name, workDirectory, signal);
    this.#companies.push(company);
    try {
      const open = await contender.open({ source: tree.root, company });
      this.#runners.push({ contender, company, open, root: '' });
    } catch (error) {
      signal.throwIfAborted();
      await company.end();
      this.#standings.set(contender, { state: 'unavailable', reason: this.#messageOf(error) });
    }
  }

  /** A contender that cannot go on leaves; the files themselves cannot. */
  async #leave(runner: Runner, state: 'unavailable' | 'failed', error: unknown): Promise<void> {
    this.#course.signal.throwIfAborted();
    if (runner.contender === BASE) throw error;
    this.#runners = this.#runners.filter((each) => each !== runner);
    await runner.company.end();
    this.#standings.set(runner.contender, { state, reason: this.#messageOf(error) });
  }

  async #mountAll(name: string, ifNot: 'unavailable' | 'failed'): Promise<void> {
    for (const runner of [...this.#runners]) {
      // On a path of its own each time: nothing the kernel knows of an earlier mount can be met.
      const point = `${runner.company.directory}/${name}`;
      mkdirSync(point);
      try {
        runner.root = await runner.open.mount(point);
      } catch (error) {
        await this.#leave(runner, ifNot, error);
      }
    }
  }

  async #unmountAll(): Promise<void> {
    for (const { company, root } of this.#runners) {
      if (root.startsWith(`${company.directory}/`)) await company.unmount(root);
    }
  }

  /** Reads everything through everybody, on mounts of their own. Returns how many bytes each of them read. */
  async #check(advance: () => void): Promise<number> {
    const { tree } = this.#course;
    await this.#mountAll('checksums', 'unavailable');
    const files = [tree.large, tree.pread, tree.mmap, ...tree.small];
    let truth: Checksum | undefined;
    for (const runner of [...this.#runners]) {
      try {
        const found = await runChecksum({ checksum: true, root: runner.root, files }, this.#run);
        truth ??= found;
        if (found.sha256 !== truth.sha256) {
          await this.#leave(runner, 'failed', new Error('its checksum differs from that of the files'));
        } else {
          await this.#identify(runner);
        }
      } catch (error) {
        await this.#leave(runner, 'failed', error);
      }
      advance();
    }
    await this.#unmountAll();
    return truth?.bytes ?? 0;
  }

  /** Whether a mount of ours uses the route and the data path that its title says. */
  async #identify(runner: Runner): Promise<void> {
    const { expects } = runner.contender;
    if (expects === undefined) return;
    const { attributes } = await this.#time(runner, 'sequential', 1);
    const { route, datapath, why } = attributes;
    if (route === expects.route && datapath === expects.dataPath) return;
    const found = `its mount reports route ${route ?? 'unknown'}, data path ${datapath ?? 'unknown'}`;
    const wanted = `instead of ${expects.route}, ${expects.dataPath}`;
    await this.#leave(
      runner,
      'unavailable',
      new Error(`${found} ${wanted}: ${why ?? 'it does not say why'}`),
    );
  }

  async #measure(round: number, workload: Workload, advance: () => void): Promise<Measured[]> {
    const found: Measured[] = [];
    // Nobody keeps a place in the order: each round begins with somebody else.
    const runners = this.#runnersOf(workload);
    const first = (round - 1) % runners.length;
    for (const runner of [...runners.slice(first), ...runners.slice(0, first)]) {
      try {
        const before = runner.company.cpuSeconds();
        const result = isWriting(workload)
          ? await this.#writing.time(workload, runner.contender.name, runner.root, round)
          : await this.#time(runner, workload, round);
        const cpuSeconds = result.cpuSeconds + runner.company.cpuSeconds() - before;
        found.push({ contender: runner.contender.name, workload, round, result, cpuSeconds });
      } catch (error) {
        await this.#leave(runner, 'failed', error);
      }
      advance();
    }
    return found;
  }

  #runnersOf(workload: Workload): readonly Runner[] {
    if (!isWriting(workload)) return this.#runners;
    return this.#runners.filter(({ contender }) => contender.writes?.includes(workload) === true);
  }

  /** Where it happened says nothing to a reader: the directory is gone when the report is there. */
  #messageOf(error: unknown): string {
    const message = error instanceof Error ? error.message : String(error);
    return message.replaceAll(`${this.#course.workDirectory}/`, '');
  }

  async #time(runner: Runner, workload: ReadWorkload, round: number): Promise<TimedResult> {
    const { settings } = this.#course;
    const task = this.#taskOf(workload, runner, round);
    const result = await runTimedTask(task, this.#run);
    const isShort = workload === 'sequential' && result.bytes !== settings.largeBytes;
    if (isShort && result.seconds < task.seconds) {
      throw new Error(`it read ${result.bytes} of ${settings.largeBytes} bytes sequentially`);
    }
    return result;
  }

  #taskOf(workload: ReadWorkload, { root, open }: Runner, round: number): TimedTask {
    const { tree, settings } = this.#course;
    const { seconds } = settings;
    // A client's copies of large files would fill the memory that the files themselves are to stay in.
    const onFile = { root, seconds, dropCache: open.hasClientCache };
    switch (workload) {
      case 'sequential':
        return {
          ...onFile,
          workload,
          file: tree.large,
          bytesMax: settings.largeBytes,
          seconds: SEQUENTIAL_SECONDS_MAX,
        };
      case 'pread':
      case 'mmap':
        return { ...onFile, workload, file: tree[workload], readsMax: RANDOM_READS_MAX, seed: round };
      case 'small-files':
        return { root, seconds, workload, files: [...tree.small], dropCache: false };
      case 'stat':
        return { root, seconds, workload, files: [...tree.stat], dropCache: false };
      case 'list':
        return { root, seconds, workload, directory: tree.list };
    }
  }
}

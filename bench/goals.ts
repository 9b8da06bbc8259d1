/** The ratios this project wants to reach, held against what was measured. */
import type { Summary } from '../src/cli/demo/timed-reads.ts';
import { bindfs } from './contenders/bindfs.ts';
import { fuseNative } from './contenders/fuse-native.ts';
import { nearMapped, nearPassthrough, nearSegments, network } from './contenders/nearmount.ts';
import { plain } from './contenders/plain.ts';
import { rclone } from './contenders/rclone.ts';
import { sshfs } from './contenders/sshfs.ts';
import type { Contender } from './contenders/contender.ts';
import { ratio, type Findings } from './findings.ts';
import type { Workload } from './workloads.ts';

interface Goal {
  readonly workload: Workload;
  readonly contender: Contender;
  readonly other: Contender;
  /** Of the median ratio; itself enough, or not. */
  readonly bound: number;
  readonly comparison: 'at least' | 'more than';
}

const GOALS: readonly Goal[] = [
  { workload: 'pread', contender: nearPassthrough, other: plain, bound: 0.8, comparison: 'at least' },
  { workload: 'mmap', contender: nearPassthrough, other: plain, bound: 0.9, comparison: 'at least' },
  { workload: 'sequential', contender: nearMapped, other: bindfs, bound: 0.7, comparison: 'at least' },
  { workload: 'sequential', contender: nearMapped, other: fuseNative, bound: 2, comparison: 'at least' },
  { workload: 'sequential', contender: nearSegments, other: bindfs, bound: 0.7, comparison: 'at least' },
  { workload: 'sequential', contender: nearSegments, other: network, bound: 2, comparison: 'at least' },
  { workload: 'sequential', contender: network, other: sshfs, bound: 1, comparison: 'more than' },
  { workload: 'sequential', contender: network, other: rclone, bound: 1, comparison: 'more than' },
  { workload: 'write-fsync', contender: nearPassthrough, other: plain, bound: 0.85, comparison: 'at least' },
  { workload: 'random-write', contender: nearPassthrough, other: plain, bound: 0.75, comparison: 'at least' },
  // Half its rate is twice its time.
  { workload: 'untar', contender: nearPassthrough, other: bindfs, bound: 0.5, comparison: 'at least' },
  { workload: 'write', contender: network, other: sshfs, bound: 1, comparison: 'more than' },
  { workload: 'write', contender: network, other: rclone, bound: 1, comparison: 'more than' },
  { workload: 'untar', contender: network, other: sshfs, bound: 1, comparison: 'at least' },
];

export interface GoalVerdict {
  readonly workload: Workload;
  readonly contender: string;
  readonly other: string;
  readonly goal: string;
  /** Undefined where one of both was not measured. */
  readonly ratio: Summary | undefined;
  /** Small files and one round (`--quick`) say nothing about speed. */
  readonly verdict: 'reached' | 'not reached' | 'not measured' | 'not judged';
}

export function judgeGoals(findings: Findings): readonly GoalVerdict[] {
  return GOALS.map(({ workload, contender, other, bound, comparison }) => {
    const found = ratio(findings, contender.name, other.name, workload);
    return {
      workload,
      contender: contender.title,
      other: other.title,
      goal: `${comparison} ${bound.toFixed(2)}`,
      ratio: found,
      verdict:
        found === undefined
          ? 'not measured'
          : findings.settings.quick
            ? 'not judged'
            : isReached(found.median, bound, comparison)
              ? 'reached'
              : 'not reached',
    };
  });
}

function isReached(ratio: number, bound: number, comparison: Goal['comparison']): boolean {
  return comparison === 'at least' ? ratio >= bound : ratio > bound;
}

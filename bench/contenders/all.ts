/** Who takes part, in the order in which they are shown. */
import { bindfs } from './bindfs.ts';
import type { Contender } from './contender.ts';
import { fuseNative } from './fuse-native.ts';
import { ganesha } from './ganesha.ts';
import { glusterfs } from './glusterfs.ts';
import { nearMapped, nearPassthrough, nearRecords, nearSegments, network } from './nearmount.ts';
import { plain } from './plain.ts';
import { rclone } from './rclone.ts';
import { sshfs } from './sshfs.ts';

/** The one every ratio is to. */
export const BASE = plain;

export const CONTENDERS: readonly Contender[] = [
  plain,
  nearPassthrough,
  nearMapped,
  nearSegments,
  nearRecords,
  network,
  ganesha,
  bindfs,
  fuseNative,
  sshfs,
  rclone,
  glusterfs,
];

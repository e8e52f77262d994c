/** Directories of tree clones that nobody has looked into yet; visit.ts gives them their entries. */
import { PosixError } from '../sys/index.js'
import { isDirectory } from './inode.js'
import type { Inode } from './words.js'

/** Thrown by bodies: this directory has to be visited first. openTree makes of it what the engine understands. */
export class Unvisited extends PosixError {
  readonly ino: number

  constructor(ino: number) {
    super('EAGAIN', `directory ${ino} of a clone was not visited`)
    this.ino = ino
  }
}

export const isUnvisited = (inode: Inode): boolean => inode.hasOrigin && isDirectory(inode)

/** Before a body looks at, or changes, what is in a directory. */
export function demandVisited(dir: Inode): void {
  if (isUnvisited(dir)) throw new Unvisited(dir.ino)
}

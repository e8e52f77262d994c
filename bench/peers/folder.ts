/** A folder that needs no daemon of ours: the disk itself, or any file system that somebody mounted (--also NAME=DIR). */
import { mkdirSync, rmSync } from 'node:fs'
import type { Peer } from './peer.js'

export const diskPeer: Peer = {
  name: 'disk',
  kind: 'disk',
  start: async (place) => {
    const dir = `${place}/plain`
    mkdirSync(dir, { recursive: true })
    return { dir, below: undefined, pid: undefined, stop: async () => undefined, kill: () => undefined }
  },
}

export const alsoPeer = (name: string, parent: string): Peer => ({
  name,
  kind: 'also',
  start: async () => {
    const dir = `${parent}/ogee-bench-${process.pid}`
    mkdirSync(dir, { recursive: true })
    return { dir, below: undefined, pid: undefined, stop: async () => rmSync(dir, { recursive: true, force: true }), kill: () => undefined }
  },
})

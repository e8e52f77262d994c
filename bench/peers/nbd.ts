/** Other NBD servers over a file on the disk: nbdkit's file plugin, qemu-nbd with a raw and with a qcow2 image. The works start them (works/nbd.ts). */
import { mkdirSync } from 'node:fs'
import type { Peer } from './peer.js'

const server = (name: string): Peer => ({
  name,
  kind: 'nbd',
  start: async (place) => {
    mkdirSync(place, { recursive: true })
    return { dir: place, below: undefined, pid: undefined, stop: async () => undefined, kill: () => undefined }
  },
})

export const nbdPeers: readonly Peer[] = ['nbdkit', 'qemu-raw', 'qemu-qcow2'].map(server)

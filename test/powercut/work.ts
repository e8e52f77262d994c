/** Who works in a pool whose power is cut: clients of the tree, one of the volume, and one that takes snapshots of both. */
import type { Pool } from '../../src/pool/index.js'
import { backgroundContext } from '../../src/sys/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'
import { makeClient, ownFolder, SHARED } from './clients.js'
import type { Client, World } from './clients.js'
import { makeSnapshotClient } from './snapshot-client.js'
import { makeVolumeClient, prepareVolume } from './volume-client.js'

const ctx = backgroundContext()

/** Makes the folders of so many clients, and the volume, durably. */
export async function prepare(pool: Pool, clients: number): Promise<void> {
  await pool.vfs.mkdir(ctx, ROOT_NODE, SHARED, 0o755, 0)
  for (let n = 0; n < clients; n++) await pool.vfs.mkdir(ctx, ROOT_NODE, ownFolder(n), 0o755, 0)
  await prepareVolume(pool)
  await pool.sync()
}

export async function startClients(world: World): Promise<Client[]> {
  const clients: Client[] = []
  for (let n = 0; n < world.history.clients.length; n++) clients.push(await makeClient(world, n))
  clients.push(await makeVolumeClient(world), makeSnapshotClient(world))
  return clients
}

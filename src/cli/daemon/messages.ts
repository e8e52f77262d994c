/** The forms of what commands and the daemon say to each other; loaded only when something was said (zod takes its time). */
import * as z from 'zod'

export const Mounted = z.object({ dir: z.string(), options: z.array(z.string()) })

const Service = z.object({
  addresses: z.array(z.string()), names: z.array(z.string()).nullable(), readOnly: z.boolean(), tls: z.array(z.string()), connections: z.number(), requests: z.number()
})

const TrashForm = z.object({ of: z.string(), on: z.boolean(), keepDays: z.number(), items: z.number(), bytes: z.number() })

export const Status = z.object({
  version: z.string(),
  pid: z.number().int(),
  pool: z.string(),
  name: z.string(),
  uuid: z.string(),
  state: z.enum(['serving', 'closing']),
  /** "major:minor" of the mount. */
  device: z.string(),
  uid: z.number().int(),
  /** As given with -o, defaults included. */
  options: z.array(z.string()),
  mounts: z.array(Mounted),
  space: z.object({ sizeBytes: z.number(), usedBytes: z.number(), freeBytes: z.number(), extents: z.number(), freeExtents: z.number() }),
  opening: z.object({ ms: z.number(), clean: z.boolean(), sameBoot: z.boolean(), replayedRecords: z.number(), replayedBytes: z.number() }),
  trash: z.array(TrashForm),
  inodes: z.number(),
  /** Null where opens do not reach the daemon. */
  openFiles: z.number().nullable(),
  openDirectories: z.number().nullable(),
  /** Bytes that were answered and would not yet survive a power cut. */
  dirtyBytes: z.number(),
  uptimeSec: z.number(),
  requests: z.number(),
  latency: z.object({ mode: z.string(), inForce: z.boolean(), spinUs: z.number(), spunMs: z.number(), sleeps: z.number() }),
  nbd: z.array(Service),
  engine: z.looseObject({ kind: z.string(), failed: z.string().nullable() })
})
export type Status = z.infer<typeof Status>

export const Grown = z.object({ sizeBytes: z.number() })
export const Synced = z.object({ durable: z.literal(true) })
export const Volumes = z.object({
  volumes: z.array(z.object({
    name: z.string(), sizeBytes: z.number(), allocatedBytes: z.number(), lentBytes: z.number(), origin: z.string().nullable(), createdSec: z.number(), inode: z.number(), writer: z.string().nullable(), opens: z.number()
  })),
  fenced: z.string().nullable()
})
export const VolumesFolder = z.object({ dir: z.string() })
export const NbdStarted = z.object({ service: Service })
export const NbdStopped = z.object({ stopped: z.number() })
export const SnapshotForm = z.object({ snapshot: z.string(), name: z.string(), of: z.string(), epoch: z.number(), takenSec: z.number() })
export const SnapshotTaken = z.object({ snapshot: SnapshotForm })
export const SnapshotList = z.object({ snapshots: z.array(SnapshotForm) })
export const SubvolumeMade = z.object({ path: z.string() })
export const Cloned = z.object({ made: z.string() })
export const SubvolumeList = z.object({ subvolumes: z.array(z.object({ path: z.string(), snapshots: z.number(), origin: z.string().nullable() })) })
export const SnapshotRemoved = z.object({ removed: z.literal(true) })
export const Trash = z.object({ trash: TrashForm })
export const TrashRestored = z.object({ path: z.string(), restored: z.number(), skipped: z.number() })
export const TrashEmptied = z.object({ removed: z.number() })
export const RolledBack = z.object({ removed: z.array(z.string()) })
/** `reason` of a Refusal. */
export const Failure = z.object({ error: z.string(), reason: z.string().optional() })
export const Closing = z.union([z.object({ closing: z.literal(true) }), z.object({ closed: z.literal(true) }), Failure])
export type Closing = z.infer<typeof Closing>

/** From the daemon to the command that started it, over the IPC channel. */
export const Started = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('note'), text: z.string() }),
  z.object({ kind: z.literal('ready'), pid: z.number().int() }),
  /** Another daemon serves the pool by now. */
  z.object({ kind: z.literal('taken') }),
  z.object({ kind: z.literal('refused'), reason: z.string(), text: z.string() })
])
export type Started = z.infer<typeof Started>

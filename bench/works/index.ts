// bench/works/index.ts: all works, in the order in which they run and stand in the table.
import { daemonWorks } from './daemon.js'
import { listingWorks } from './listing.js'
import { nbdWorks, rbdWorks } from './nbd.js'
import { nameWorks } from './names.js'
import { postgresWork } from './postgres.js'
import { programWorks } from './programs.js'
import { readWorks } from './reads.js'
import { statWorks } from './stat.js'
import { treeWorks } from './tree.js'
import { writeWorks } from './writes.js'
import { volumeWorks } from './volumes.js'
import type { Work } from '../work.js'

export const works: readonly Work[] = [
  ...statWorks, ...nameWorks, ...treeWorks, ...listingWorks, ...readWorks, ...writeWorks, ...programWorks, postgresWork, ...daemonWorks, ...nbdWorks, ...rbdWorks, ...volumeWorks,
]

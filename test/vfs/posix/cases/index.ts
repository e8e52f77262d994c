/** The one table: what a POSIX file system on Linux does, in small cases. */
import type { Case } from '../table.js'
import { bytesCases } from './bytes.js'
import { listingCases } from './listing.js'
import { makingCases } from './making.js'
import { ownersCases } from './owners.js'
import { pathsCases } from './paths.js'
import { removingCases } from './removing.js'
import { renamingCases } from './renaming.js'
import { timesCases } from './times.js'
import { xattrsCases } from './xattrs.js'

export const cases: readonly Case[] = [
  ...pathsCases, ...makingCases, ...removingCases, ...renamingCases, ...ownersCases, ...timesCases, ...bytesCases, ...listingCases, ...xattrsCases,
]

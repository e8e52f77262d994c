// src/trash/index.ts: what was removed and is kept for a while. Other floors use what is named here.
export { openTrash } from './trash.js'
export type { Trash } from './trash.js'
export { foldersIn } from './folders.js'
export type { Folders } from './folders.js'
export { TrashError } from './restoring.js'
export type { Restored, Restoring, Scope } from './restoring.js'

// src/meta/index.ts: the tree as transactions. Other floors use what is named here.
export type { DirectoryRow, Inode, MakeArgs, Op, Timespec, Tree } from './meta.js'

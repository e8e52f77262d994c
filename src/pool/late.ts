/**
 * What of a pool needs all the floors below it, loaded when it is first asked for: commands that only look at a folder, or ask a daemon,
 * start in half the time.
 */
export const openPool: typeof import('./open.js').openPool = async (...args) => (await import('./open.js')).openPool(...args)
export const formatPool: typeof import('./open.js').formatPool = async (...args) => (await import('./open.js')).formatPool(...args)
export const fsckPool: typeof import('./fsck.js').fsckPool = async (...args) => (await import('./fsck.js')).fsckPool(...args)
export const poolFigures: typeof import('./figures.js').poolFigures = async (...args) => (await import('./figures.js')).poolFigures(...args)
export const grownSize = async (...args: Parameters<typeof import('./size.js').grownSize>): Promise<number> => (await import('./size.js')).grownSize(...args)

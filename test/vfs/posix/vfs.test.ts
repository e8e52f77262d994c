/** The POSIX table straight against the vfs, which decides permissions itself. */
import { manualClock } from '../../../src/sys/index.js'
import { openRig } from '../rig.js'
import { runTable } from './suite.js'
import { driveVfs } from './vfs-driver.js'

runTable('vfs over the memory engine', async () => {
  const clock = manualClock()
  const rig = await openRig({ clock, vfs: { checkPermissions: true, isHeld: () => false } })
  return driveVfs(rig.vfs, {
    tick: async () => clock.advance(10),
    close: () => rig.close(),
  })
})

/** What may stand behind `ogee`: its own words, words that are almost right, and anything at all. None of it names something that can be made. */
import fc from 'fast-check'

const COMMANDS = ['mount', 'umount', 'unmount', 'status', 'df', 'format', 'grow', 'snapshot', 'subvolume', 'clone', 'volume', 'nbd', 'fsck', 'doctor', 'sync', 'help', 'Mount', 'fsk', '']
const SECOND = ['create', 'list', 'rm', 'info', 'resize', 'rename', 'attach', 'detach', 'creat']
const OPTIONS = ['--json', '--repair', '--size', '--name', '--preallocate', '--device', '--nbd', '-f', '--foreground', '-o', '-l', '--lazy', '--listen', '--read-only', '--tls-dir',
  '--takeover', '--plain', '--stop', '--wait', '--shrink', '-h', '--help', '-V', '--version', '--', '-', '--bogus', '-ojson', '--size=', '--size=-1', '--json=1', '-xyz']
const VALUES = ['1G', '0', '-1', '1e309', 'NaN', '99999999999999999999', '10GiB', '5%', 'ro,rw', 'uid=x', 'fsname="a,b', ',,,', 'unix:', 'tcp:::', 'tcp:h:99999', '/proc/none/pool', '/dev/null',
  '/dev/null/pool', '/proc/self/mem', 'a\nb', '\u001b[31m', 'é\u0301', '🦆', '..', './', '__proto__', 'constructor', 'x'.repeat(5000), `/${'y/'.repeat(2500)}`]

const word = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...OPTIONS) }, { weight: 4, arbitrary: fc.constantFrom(...VALUES) }, { weight: 1, arbitrary: fc.constantFrom(...SECOND) },
  { weight: 1, arbitrary: fc.string({ maxLength: 12, unit: 'binary' }).map((s) => `/proc/${s.replaceAll('\0', '')}`) })

/** A command first, most of the time. */
export const words: fc.Arbitrary<string[]> = fc.tuple(fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...COMMANDS) }, { weight: 1, arbitrary: word }),
  fc.oneof({ weight: 1, arbitrary: fc.constantFrom(...SECOND).map((s) => [s]) }, { weight: 3, arbitrary: fc.constant([]) }), fc.array(word, { maxLength: 5 })).map(([first, second, rest]) => [first, ...second, ...rest])

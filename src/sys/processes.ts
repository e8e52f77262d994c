/** This process as the kernel sees it: name, page size, what node has no call for. */
import { bind, result } from './native.js'

export const PR_SET_NAME = 15
export const PR_SET_DUMPABLE = 4
export const PR_SET_TIMERSLACK = 29
export const PR_SET_IO_FLUSHER = 57 // no write-back into ourselves when memory is short (5.6, CAP_SYS_RESOURCE)

const libc = {
  prctl: bind<[number, number | string, number, number, number]>(
    'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)'),
  prctlName: bind<[number, string, number, number, number]>(
    'int prctl(int option, const char *a, unsigned long b, unsigned long c, unsigned long d)'),
  getpagesize: bind<[]>('int getpagesize()')
}

export const prctl = (option: number, value: number): number => result(libc.prctl(option, value, 0, 0, 0))
/** What ps and top show for the thread, at most 15 bytes. */
export const setThreadName = (name: string): number => result(libc.prctlName(PR_SET_NAME, name, 0, 0, 0))

let pageBytes = 0
export const pageSize = (): number => (pageBytes ||= libc.getpagesize())

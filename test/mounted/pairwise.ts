/** Rows in which each pair of values of two parameters occurs: what a few values at a time break, a few rows find. */
export function pairwise<T extends Readonly<Record<string, readonly string[]>>>(parameters: T): Record<keyof T, string>[] {
  const names = Object.keys(parameters)
  const pair = (a: string, x: string, b: string, y: string): string => `${a}=${x} ${b}=${y}`
  const open = new Set<string>()
  names.forEach((a, i) => {
    for (const b of names.slice(i + 1)) for (const x of parameters[a]) for (const y of parameters[b]) open.add(pair(a, x, b, y))
  })
  const rows: Record<string, string>[] = []
  while (open.size > 0) {
    // begin with a pair that is open, then give each parameter the value that closes most
    const [[a, x], [b, y]] = [...open][0].split(' ').map((part) => part.split('='))
    const row: Record<string, string> = { [a]: x, [b]: y }
    const closes = (name: string, value: string): number => names.filter((other) => other in row && other !== name
      && (open.has(pair(name, value, other, row[other])) || open.has(pair(other, row[other], name, value)))).length
    for (const name of names) {
      if (name in row) continue
      row[name] = parameters[name].reduce((best, value) => (closes(name, value) > closes(name, best) ? value : best))
    }
    names.forEach((n, i) => {
      for (const m of names.slice(i + 1)) open.delete(pair(n, row[n], m, row[m]))
    })
    rows.push(row)
  }
  return rows as Record<keyof T, string>[]
}

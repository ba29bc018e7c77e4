// The names of keys. Owns: that all keys of a resource are in one slot of a cluster. Must not know:
// what is kept under them.

/** Braces mark the part of a key that a cluster spreads keys by, so a name may have none of its own. */
const inBraces = (name: string): string =>
  `{${name.replace(/[{}%]/g, (letter) => encodeURIComponent(letter))}}`

/** The key of a resource for each part of its state, such as `headgate:{name}:state`. */
export function keyOf(prefix: string, resource: string, part: string): string {
  return `${prefix}:${inBraces(resource)}:${part}`
}

/** Where a process is told which of its tickets were admitted; the scripts build the same name. */
export const grantsChannel = (prefix: string, instance: string): string =>
  `${prefix}:grants:${instance}`

export const probeKey = (prefix: string, instance: string): string => `${prefix}:probe:${instance}`

export const instancesKey = (prefix: string): string => `${prefix}:instances`

export const resourcesKey = (prefix: string): string => `${prefix}:resources`

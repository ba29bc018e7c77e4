// The kinds of argument that a script can have: how each is typed in TypeScript, sent, and read in Lua.
// Texts are an operand each. All numbers of a call are one operand, as doubles one after the other: a
// server reads that many times faster than as many texts.

/** In the order in which they are sent; the names are those of CostVector, in Lua too. */
const DIMENSIONS = ['requests', 'input_tokens', 'output_tokens', 'tokens', 'cost']

const text = { type: 'string', numbers: null, read: (at) => `ARGV[${at}]` }

/**
 * `numbers` gives the expressions that are sent as doubles, or null for a text. `read` is given the
 * place in ARGV of a text, and the names that the doubles have in Lua.
 */
export const kinds = {
  string: text,
  text,
  number: { type: 'number', numbers: (value) => [value], read: ([name]) => name },
  flag: {
    type: 'boolean',
    numbers: (value) => [`${value} ? 1 : 0`],
    read: ([name]) => `${name} == 1`,
  },
  cost: {
    type: 'CostVector',
    numbers: (value) => DIMENSIONS.map((dimension) => `${value}.${dimension}`),
    read: (names) => `{ ${DIMENSIONS.map((name, i) => `${name} = ${names[i]}`).join(', ')} }`,
  },
}

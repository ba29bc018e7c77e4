// The kinds of argument that a script can have: how each is typed in TypeScript, sent, and read in
// Lua. Arguments are strings on the way, and `1 == "1"` is false in Lua.

/** In the order in which they are sent; the names are those of CostVector, in Lua too. */
const DIMENSIONS = ['requests', 'input_tokens', 'output_tokens', 'tokens', 'cost']

const text = {
  type: 'string',
  width: 1,
  send: (value) => [value],
  read: (at) => `ARGV[${at}]`,
}

/** `width` is how many places of ARGV it takes; `read` is given the first of them. */
export const kinds = {
  string: text,
  text,
  number: {
    type: 'number',
    width: 1,
    send: (value) => [`numeral(${value})`],
    read: (at) => `tonumber(ARGV[${at}])`,
  },
  flag: {
    type: 'boolean',
    width: 1,
    send: (value) => [`${value} ? '1' : '0'`],
    read: (at) => `ARGV[${at}] == '1'`,
  },
  cost: {
    type: 'CostVector',
    width: DIMENSIONS.length,
    send: (value) => DIMENSIONS.map((dimension) => `numeral(${value}.${dimension})`),
    read: (at) => {
      const fields = DIMENSIONS.map((name, i) => `${name} = tonumber(ARGV[${at + i}])`)
      return `{ ${fields.join(', ')} }`
    },
  },
}

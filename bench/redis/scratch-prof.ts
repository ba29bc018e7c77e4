import { startRedis } from '../../tests/servers/redis.ts'
import { Program } from '../../src/stores/redis/program.ts'
import { allScripts } from '../../src/stores/redis/scripts.generated.ts'
import { keyOf } from '../../src/stores/redis/keys.ts'
import { settingsText } from '../../src/stores/redis/settings-text.ts'
import { costOf } from '../../src/core/cost.ts'
import { THREE_LIMITS } from '../gate/contenders.ts'
import { RespClient } from './resp-client.ts'
import { spawnSync } from 'node:child_process'
const server = await startRedis()
spawnSync('taskset', ['-cp', '1', String(server.pid)]); spawnSync('taskset', ['-cp', '0', String(process.pid)])
const c = await RespClient.connect(server.url)
const program = new Program(allScripts)
const locals = (process.argv[2] ?? '').split(',').filter(Boolean)
let lib = program.library()
const N = '_P'
if (process.env.RC) lib = lib.replaceAll('redis.call(', '_rc(')
lib = lib.replace('local operations\n', `local operations
local prof, prof_n = {}, {}
local function clock() local t = redis.call('TIME') return (t[1] % 100000) + t[2] / 1e6 end
local function finish(name, t0, ...)
  local dt = clock() - t0
  prof[name] = (prof[name] or 0) + dt
  prof_n[name] = (prof_n[name] or 0) + 1
  return ...
end
local function wrap(name, f)
  return function(...) local t0 = clock() return finish(name, t0, f(...)) end
end
local _rc = ${process.env.RC ? "wrap('redis.call', function(...) return redis.call(...) end)" : 'function(...) return redis.call(...) end'}
`)
lib = lib.replace('operations.answered = function', `do
${locals.map(n => { const [m, f] = n.split('.'); return f ? `${m}['${f}'] = wrap('${n}', ${n})` : `${n} = wrap('${n}', ${n})` }).join('\n')}
end
operations.answered = function`)
for (const op of ['enqueue','settle']) lib = lib.replace(`redis.register_function('${program.functionOf(allScripts[op as 'enqueue'])}', function(keys, args)
  operations = operations or load()
  return operations.${op}(keys, args)`, (x) => x.replace(`return operations.${op}(keys, args)`, `local t0 = clock() return finish('ALL ${op}', t0, operations.${op}(keys, args))`))
lib += `
redis.register_function('prof', function() local out = {} for k, v in pairs(prof) do out[#out+1] = k .. ' ' .. prof_n[k] .. ' ' .. string.format('%.3f', v * 1e6) end prof, prof_n = {}, {} return out end)`
await c.call('FUNCTION','LOAD', lib)
const E = costOf({ input_tokens: 600, output_tokens: 300 })
const A = costOf({ input_tokens: 580, output_tokens: 210 })
const settings = settingsText(THREE_LIMITS, Date.now())
const rev = Date.now()
const fcall = (s: any, a: any) => { const keys = s.keys.map((k: string) => keyOf('headgate', 'model', k)); return ['FCALL', program.functionOf(s), String(keys.length), ...keys, ...s.args(a)] }
const common = (s='') => ({ resource: 'model', instance: 'bench-instance-1', revision: rev, settings: s })
const enq = (id: string, flow: string, s='') => fcall(allScripts.enqueue, { ...common(s), id, flow, lane: 2, weight: 1, estimate: E, deadlineAt: Infinity, parked: false, holder: 'bench-instance-1', holderTtl: 30000, hasPlace: false, enqueuedAt: 0, laneSince: 0, startTag: 0 })
const set = (id: string) => fcall(allScripts.settle, { ...common(), id, actual: A, exact: true })
await c.call(...enq('resident','resident', settings))
const held = Number(process.env.HELD ?? 0)
for (let i=0;i<held;i++) await c.call(...enq('held'+i,'h'+i))
const best = new Map<string,[number,number]>()
for (let round=0; round<8; round++) {
  const M=500
  for (let i=0;i<M;i++) { void c.call(...enq(`t${i}`,`agent-${i%100}`)); await c.call(...set(`t${i}`)) }
  for (const l of (await c.call('FCALL','prof','0')) as string[]) { const p=l.split(' '); const us=Number(p.pop()), n=Number(p.pop()); const name=p.join(' '); const v=us/M; const b=best.get(name); if (round>0 && (!b||v<b[1])) best.set(name,[n/M,v]) }
}
for (const [k,[n,v]] of [...best].sort((a,b)=>b[1][1]-a[1][1])) console.log(`${k.padEnd(26)} ${n.toFixed(1)} calls/turn  ${v.toFixed(2)} us/turn  ${(v/n).toFixed(2)} us/call`)
process.exit()

import { startRedis } from '../../tests/servers/redis.ts'
import { RespClient } from './resp-client.ts'
import { spawnSync } from 'node:child_process'
const server = await startRedis()
spawnSync('taskset', ['-cp', '1', String(server.pid)]); spawnSync('taskset', ['-cp', '0', String(process.pid)])
const c = await RespClient.connect(server.url)
const names = Array.from({length:24},(_,i)=>'field_'+i)
const cases: Record<string,string> = {
  'empty loop': '',
  'redis.call SET 600 bytes KEEPTTL': `redis.call('SET', k, blob, 'KEEPTTL')`,
  'redis.call SET 600 bytes PX text': `redis.call('SET', k, blob, 'PX', '7200000')`,
  'arg table of enqueue, 15 tonumber': `local arg = { a = A[1], b = A[2], c = tonumber(A[3]), d = A[4], e = A[1], f = A[2], g = tonumber(A[5]), h = tonumber(A[6]), est = { r = tonumber(A[7]), i = tonumber(A[8]), o = tonumber(A[9]), t = tonumber(A[10]), c = tonumber(A[11]) }, dl = tonumber(A[12]), p = A[13] == '1', hd = A[1], ttl = tonumber(A[14]), pl = A[13] == '1', ea = tonumber(A[13]), ls = tonumber(A[13]), st = tonumber(A[13]) }`,
  'the same, numbers packed in one operand': `local n1,n2,n3,n4,n5,n6,n7,n8,n9,n10,n11,n12,n13,n14,n15 = unpack_('<ddddddddddddddd', p192) local arg = { a = A[1], b = A[2], c = n1, d = A[4], e = A[1], f = A[2], g = n2, h = n3, est = { r = n4, i = n5, o = n6, t = n7, c = n8 }, dl = n9, p = n10 == 1, hd = A[1], ttl = n11, pl = n12 == 1, ea = n13, ls = n14, st = n15 }`,
  'GET 600 B that changes each time (SET+GET)': `redis.call('SET', k, blob .. i) redis.call('GET', k)`,
  'SET that changes each time': `redis.call('SET', k, blob .. i)`,
  'string 600 B == another': `local x = blob == blob600`,
  'meter table of 17 fields': `local t = { algorithm = k, dimension = h, shape = 1, code = 2, amount = v1, window_ms = v2, capacity = v3, source = k, rate = v1 / v2, level = v1, at = v2, reserve = 0, low_at = v1, low_missing = v2, lows = '' }`,
  'call of a function through a table': `fns.nop()`,
  'table.concat of 14 parts': `local s = table.concat({ p170, '', '', '', '', '', '', p192, k, p192, k, p192, k, '' })`,

  'redis.call TIME': `redis.call('TIME')`,
  'redis.call EXISTS': `redis.call('EXISTS', k)`,
  'redis.call GET 600 bytes': `redis.call('GET', k)`,
  'redis.call SET 600 bytes PX': `redis.call('SET', k, blob, 'PX', 60000)`,
  'redis.call SET 600 bytes PX, same number': `redis.call('SET', k, blob, 'PX', px)`,
  'redis.call SET 600 bytes': `redis.call('SET', k, blob)`,
  'redis.call SET 200 bytes PX': `redis.call('SET', k, blob200, 'PX', 60000)`,
  'redis.call PEXPIRE (number arg)': `redis.call('PEXPIRE', h, 7200000)`,
  'redis.call PEXPIRE (text arg)': `redis.call('PEXPIRE', h, '7200000')`,
  'redis.call HGET hit 170 B': `redis.call('HGET', h, 'f')`,
  'redis.call HGET miss': `redis.call('HGET', h, 'nope')`,
  'redis.call HMGET 3': `redis.call('HMGET', h, 'f', 'g', 'nope')`,
  'redis.call HSET 2 fields 170 B': `redis.call('HSET', h, 'f', p170, 'g', p170)`,
  'redis.call ZADD': `redis.call('ZADD', z, 0, 'Lmember-of-sorted-set-xx')`,
  'redis.call ZADD (text 0)': `redis.call('ZADD', z, '0', 'Lmember-of-sorted-set-xx')`,
  'redis.call ZADD+ZREM': `redis.call('ZADD', z, '0', 'Lmember-xx') redis.call('ZREM', z, 'Lmember-xx')`,
  'struct.unpack 24 doubles to locals': `local ${names.join(', ')} = unpack_('<dddddddddddddddddddddddd', p192)`,
  'the same into a growing table': `local t = {} ${names.map(n=>'t.'+n).join(', ')} = unpack_('<dddddddddddddddddddddddd', p192)`,
  'the same into a constructor': `local ${names.join(', ')} = unpack_('<dddddddddddddddddddddddd', p192) local t = { ${names.map(n=>`${n} = ${n}`).join(', ')} }`,
  'the same into a list {unpack}': `local t = { unpack_('<dddddddddddddddddddddddd', p192) }`,
  'the same into a reused table': `${names.map(n=>'reused.'+n).join(', ')} = unpack_('<dddddddddddddddddddddddd', p192)`,
  'struct.pack 24 doubles': `local s = pack_('<dddddddddddddddddddddddd', ${names.map((_,i)=>'v'+i%4).join(', ')})`,
  'struct.pack 12 doubles': `local s = pack_('<dddddddddddd', ${names.slice(0,12).map((_,i)=>'v'+i%4).join(', ')})`,
  'global lookup struct.pack 1 double': `local s = struct.pack('<d', v1)`,
  'upvalue pack 1 double': `local s = pack_('<d', v1)`,
  'empty_lane() x4': `local t = { [0] = lane(), lane(), lane(), lane() }`,
  "string.format('%.17g', now)": `local s = string.format('%.17g', now)`,
  "string.format('%.3f', now)": `local s = string.format('%.3f', now)`,
  'tostring int': `local s = tostring(1234567)`,
  'tonumber of text x10': Array(10).fill(`local x = tonumber('1795324137526.25')`).join(' '),
  'concat of 4 strings': `local s = p170 .. p192 .. k .. h`,
  'closure': `local s = function() return k end`,
  'string.match prefix': `local s = string.match(k, '^[^{]*')`,
}
let lib = `#!lua name=micro\nlocal fns\nlocal function mk() local fns = {}\nlocal k, h, z = 'state{x}', 'rec{x}', 'idx{x}' local unpack_, pack_ = struct.unpack, struct.pack local now = 1795324137526.25 local px = 60000 local v0, v1, v2, v3 = 1, 2.5, 1e12, 1795324137526.25
local blob, blob200, p170, p192 = string.rep('x', 600), string.rep('y',200), string.rep('p', 170), string.rep(struct.pack('<d', 1.5), 24) local reused = { ${names.map(n=>`${n} = 0`).join(', ')} }
local function lane() return { virtual_time = 0, last_turn = 0, backlogged = 0, ahead = 0, backlog = { tickets = 0, requests = 0, input_tokens = 0, output_tokens = 0, tokens = 0, cost = 0 } } end
`
lib += `local A = { 'model', 'bench-instance-1', '1795324137526', '', '2', '1', '1', '600', '300', '900', '0', 'inf', '0', '30000' } local blob600 = string.rep('z', 600) function fns.nop() end
`
const list = Object.entries(cases)
list.forEach(([,body],i) => { lib += `fns[${i+1}] = function(n) for i = 1, n do ${body} end end\n` })
lib += `return fns end redis.register_function('micro', function(keys, args) fns = fns or mk() local f, n = fns[tonumber(args[1])], tonumber(args[2]) local a = redis.call('TIME') f(n) local b = redis.call('TIME') return tostring(((b[1]-a[1])*1e6 + b[2]-a[2]) / n) end)`
await c.call('FUNCTION','LOAD',lib)
await c.call('HSET','rec{x}','f','p'.repeat(170),'g','p'.repeat(100)); for (let i=0;i<64;i++) await c.call('HSET','rec{x}','t'+i,'p'.repeat(170)); await c.call('SET','state{x}','x'.repeat(600)); await c.call('ZADD','idx{x}','0','a','0','b')
const best = list.map(()=>Infinity)
for (let r=0;r<12;r++) for (let i=0;i<list.length;i++) best[i]=Math.min(best[i]!, Number(await c.call('FCALL','micro','0',String(i+1),'2000')))
list.forEach(([n],i)=>console.log(`${n.padEnd(44)} ${best[i]!.toFixed(2)} us`))
process.exit()

// Stale reads of `cacheable`: the load of src/staleness, on instances with a memory tier and Redis each.
//
// usage: node staleness.js REDIS_URL,REDIS_URL,REDIS_URL MILLISECONDS TTL_MILLISECONDS [MONGODB_URL]
// Prints reads, reads that failed, writes, stale reads on the node that wrote, on others, by more than a second, the longest in ms.
// With a MongoDB the numbers are there, and one other program writes them, which tells no cache.
import { setTimeout as sleep } from 'node:timers/promises'
import { createKeyv } from '@keyv/redis'
import { Cacheable } from 'cacheable'
import { MongoClient } from 'mongodb'

const [urls, lasts, ttlMs, mongo] = process.argv.slice(2)
const KEYS = 50
const READERS = 4
// Copies in memory for a second, as Larder's bound.
const BOUND = 1_000
const ttl = { primary: BOUND, secondary: Number(ttlMs) }

const acknowledged = Array.from({ length: KEYS }, () => [])
const verdict = { reads: 0, failed: 0, writes: 0, here: 0, elsewhere: 0, late: 0, oldest: 0 }

/** A table in this process, whose reads take a moment. */
function memory() {
  const numbers = Array(KEYS).fill(1)
  return {
    async read(key) {
      const number = numbers[key]
      await sleep(Math.random() * 3)
      return number
    },
    async grow(key) {
      return (numbers[key] += 1)
    },
  }
}

async function collection(url) {
  const client = await new MongoClient(url).connect()
  const numbers = client.db().collection('numbers')
  const options = { returnDocument: 'after' }
  return {
    async read(key) {
      return (await numbers.findOne({ _id: key })).n
    },
    async grow(key) {
      const update = { $inc: { n: 1 }, $set: { updatedAt: new Date() } }
      return (await numbers.findOneAndUpdate({ _id: key }, update, options)).n
    },
  }
}

function judge(key, node, begun, number) {
  verdict.reads += 1
  const missed = acknowledged[key].filter(ack => ack.number > number && ack.at <= begun)
  if (missed.length === 0) return
  verdict[missed.some(ack => ack.node === node) ? 'here' : 'elsewhere'] += 1
  const age = Math.max(...missed.map(ack => begun - ack.at))
  verdict.late += age > BOUND ? 1 : 0
  verdict.oldest = Math.max(verdict.oldest, age)
}

function acknowledge(key, number, node) {
  verdict.writes += 1
  acknowledged[key].push({ number, node, at: performance.now() })
}

const anyKey = () => Math.floor(Math.random() * KEYS)

async function readOnAndOn(cache, node) {
  while (performance.now() < ends) {
    const key = anyKey()
    const begun = performance.now()
    const number = await cache.getOrSet(`k${key}`, () => database.read(key), { ttl }).catch(() => undefined)
    if (number === undefined) verdict.failed += 1
    else judge(key, node, begun, number)
    await sleep(1)
  }
}

async function writeOnAndOn(cache, node) {
  while (performance.now() < ends) {
    const key = anyKey()
    const number = await database.grow(key)
    const isDone = await cache.delete(`k${key}`).then(() => true, () => false)
    if (isDone) acknowledge(key, number, node)
    await sleep(2 + Math.random() * 6)
  }
}

async function writePast() {
  while (performance.now() < ends) {
    const key = anyKey()
    acknowledge(key, await database.grow(key), 'another program')
    await sleep(50 + Math.random() * 100)
  }
}

const database = mongo ? await collection(mongo) : memory()
const tasks = []
const ends = performance.now() + Number(lasts)
for (const [node, url] of urls.split(',').entries()) {
  // A failed deletion is told, not passed over. The lifetime is for copies that come from Redis.
  const cache = new Cacheable({ secondary: createKeyv(url, { throwOnErrors: true }), ttl: ttl.primary })
  cache.on('error', () => {})
  for (let reader = 0; reader < READERS; reader++) tasks.push(readOnAndOn(cache, node))
  if (!mongo) tasks.push(writeOnAndOn(cache, node))
}
if (mongo) tasks.push(writePast())
await Promise.all(tasks)
console.log(Object.values(verdict).join(','))
process.exit(0)

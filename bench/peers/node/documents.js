// The source of truth of the peers, and the two cache-aside reads that teams write by hand.
import { readFileSync } from 'node:fs'
import Redis from 'ioredis'
import { LRUCache } from 'lru-cache'

const TTL_SECONDS = 3600

// Returns `read(id)`: the document as a raw JSON string, or undefined. Hits decode and encode nothing.
export function reader({ mode, documents, redisUrl }) {
  const source = new Map()
  for (const line of readFileSync(documents, 'utf8').split('\n')) {
    if (line) source.set(JSON.parse(line)._id, line)
  }
  return mode === 'near' ? near(source) : shared(source, new Redis(redisUrl))
}

function near(source) {
  const cache = new LRUCache({ max: 100_000, ttl: TTL_SECONDS * 1000 })
  return (id) => {
    let text = cache.get(id)
    if (text === undefined) {
      text = source.get(id)
      if (text !== undefined) cache.set(id, text)
    }
    return text
  }
}

function shared(source, redis) {
  return async (id) => {
    const key = `product:${id}`
    const cached = await redis.get(key)
    if (cached !== null) return cached
    const text = source.get(id)
    if (text !== undefined) await redis.set(key, text, 'EX', TTL_SECONDS)
    return text
  }
}

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Banned sources: a bit of the gate, then one load of one cache line answers, however many bans there are. Seven places a set; what does not fit
 * goes to a hash map that is asked only when the set's first word says so. Nothing here is an LRU: no flood can evict a
 * ban.
 */
#ifndef XDPWALL_BANS_H
#define XDPWALL_BANS_H

/*
 * Does any place of the set have this tag? Without branches: a flood that mixes banned and other sources would make the
 * processor guess wrong. (tag ^ tag) - 1 has bit 63 set only for equal tags. Loads the tags alone (the upper halves on
 * the little-endian machines we run on); who has one of them is then asked again with whole words, expiry and all.
 */
INLINE u64 any_tag(struct ban_line *line, u64 tag)
{
    u32 *halves = (u32 *)line->word;
    u64 found = 0;
#pragma unroll
    for (int way = 1; way < WAYS; way++)
        found |= (halves[2 * way + 1] ^ tag) - 1;
    return found >> 63;
}

INLINE int is_alive(u64 word, u64 tag, u64 now)
{
    return word >> 32 == tag && now < (word & 0xffffffff);
}

INLINE void count_hit(struct ban_hits *hits, int way, u32 length)
{
    lock_xadd(&hits->way[way].packets, 1);
    lock_xadd(&hits->way[way].bytes, length);
}

INLINE int in_overflow(struct packet *p)
{
    u64 key = p->key;
    struct ban_value *ban = ban_overflow.lookup(&key);
    if (!ban || ban->expiry <= expiry_now(p))
        return 0;
    lock_xadd(&ban->dropped.packets, 1);
    lock_xadd(&ban->dropped.bytes, p->length);
    return 1;
}

INLINE int is_source_banned_v4(struct packet *p, u32 index)
{
    struct ban_line *line = ban4.lookup(&index);
    if (!line)
        return 0;
    u64 tag = p->key >> 32;
    u64 now = expiry_now(p);
    if (any_tag(line, tag)) {
        struct ban_hits *hits = ban4_hits.lookup(&index);
        if (!hits)
            return 0;
#pragma unroll
        for (int way = 1; way < WAYS; way++) {
            if (is_alive(line->word[way], tag, now)) {
                count_hit(hits, way, p->length);
                return 1;
            }
        }
    }
    return line->word[0] && in_overflow(p);
}

INLINE int is_source_banned_v6(struct packet *p, u32 index)
{
    struct ban_line *line = ban6.lookup(&index);
    if (!line)
        return 0;
    u64 tag = tag_of(p->key, p->hash);
    u64 now = expiry_now(p);
    if (any_tag(line, tag)) {
        struct ban_keys *keys = ban6_keys.lookup(&index);
        struct ban_hits *hits = ban6_hits.lookup(&index);
        if (!keys || !hits)
            return 0;
#pragma unroll
        for (int way = 1; way < WAYS; way++) {
            if (is_alive(line->word[way], tag, now) && keys->key[way] == p->key) {
                count_hit(hits, way, p->length);
                return 1;
            }
        }
    }
    return line->word[0] && in_overflow(p);
}

INLINE int is_source_banned(struct packet *p)
{
    u32 bit = p->hash >> (64 - BAN_BITS - 4);
    u32 word = bit >> 6;
    u64 *near = p->is_v6 ? ban6_gate.lookup(&word) : ban4_gate.lookup(&word);
    if (!near || !(*near >> (bit & 63) & 1))
        return 0;
    u32 index = bit >> 4;
    return p->is_v6 ? is_source_banned_v6(p, index) : is_source_banned_v4(p, index);
}

#endif

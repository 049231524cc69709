/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Banned sources: a bit of the gate, then one load of one cache line answers, however many bans there are. Four places a
 * set; what does not fit goes to a hash map that is asked only when the set's bit says so. Nothing here is an LRU: no flood
 * can evict a ban.
 */
#ifndef XDPWALL_BANS_H
#define XDPWALL_BANS_H

/*
 * Which place of the set has this tag? BAN_WAYS + the way, 0 for none; a sum of them where several do (IPv6 only). Without
 * branches: sources come in random order, so the processor would guess wrong. difference - 1 has bit 63 set only for 0.
 */
INLINE u32 find_tag(struct ban_line *line, u64 tag)
{
    u64 found = 0;
#pragma unroll
    for (int way = 0; way < BAN_WAYS; way++) {
        u64 difference = line->place[way].tag ^ tag;
        u64 equal = (difference - 1) >> 63;
        asm volatile("" : "+r"(equal));
        found += equal * (BAN_WAYS + way);
    }
    return found;
}

/* Is the place this tag's, and its ban not over? Tag and expiry come from one load, see struct ban_place. */
INLINE int drops(struct ban_place *place, u64 tag, struct packet *p)
{
    u64 word = *(volatile u64 *)place;
    if (word >> 32 != tag || (word & 0xffffffff) <= expiry_now(p))
        return 0;
    lock_xadd(&place->dropped, 1 + ((u64)((p->length + 8) >> 4) << 32));
    return 1;
}

INLINE int in_overflow(struct packet *p, u32 index)
{
    u32 word = index >> 6;
    u64 *full = p->is_v6 ? ban6_full.lookup(&word) : ban4_full.lookup(&word);
    if (!full || !(*full >> (index & 63) & 1))
        return 0;
    u64 key = p->key;
    struct ban_value *ban = ban_overflow.lookup(&key);
    if (!ban || ban->expiry <= expiry_now(p))
        return 0;
    lock_xadd(&ban->dropped.packets, 1);
    lock_xadd(&ban->dropped.bytes, p->length);
    return 1;
}

INLINE int in_set_v4(struct packet *p, u32 index)
{
    struct ban_line *line = ban4.lookup(&index);
    if (!line)
        return 0;
    u64 tag = p->key >> 32;
    u32 found = find_tag(line, tag);
    return found && drops(&line->place[found & (BAN_WAYS - 1)], tag, p);
}

INLINE int in_set_v6(struct packet *p, u32 index)
{
    struct ban_line *line = ban6.lookup(&index);
    if (!line)
        return 0;
    u64 tag = tag_of(p->key, p->hash);
    if (!find_tag(line, tag))
        return 0;
    struct ban_keys *keys = ban6_keys.lookup(&index);
    if (!keys)
        return 0;
#pragma unroll
    for (int way = 0; way < BAN_WAYS; way++) {
        if (keys->key[way] == p->key && drops(&line->place[way], tag, p))
            return 1;
    }
    return 0;
}

INLINE int is_source_banned(struct packet *p)
{
    u32 bit = p->hash >> (64 - BAN_BITS - 3);
    u64 word = p->hash >> (64 - BAN_BITS - 3 + 6);
    u64 near = p->is_v6 ? WHOLE(u64, AT_BAN6_GATE)[word] : WHOLE(u64, AT_BAN4_GATE)[word];
    if (!(near >> (bit & 63) & 1))
        return 0;
    u32 index = bit >> 3;
    return (p->is_v6 ? in_set_v6(p, index) : in_set_v4(p, index)) || in_overflow(p, index);
}

#endif

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Lists by prefix: own addresses, allowlist, banned prefixes. A trie look-up costs 50 ns and more, so one word of the gate
 * says first whether a list holds anything near this source; on a quiet list that load is the whole cost.
 */
#ifndef XDPWALL_LISTS_H
#define XDPWALL_LISTS_H

/* What the gate said: bit 0 allow, bit 1 ban, bit 2 own. */
#define GATE_ALLOW 1
#define GATE_BAN 2
#define GATE_OWN 4

/* The full source address is read again from the packet: keys hold only the first half of an IPv6 address. */
INLINE int source_address(struct packet *p, __be32 address[4])
{
    u32 at = p->l3 & 0x3f;
    if (p->is_v6) {
        struct ipv6_header *ip = p->data + at;
        if ((void *)(ip + 1) > p->end)
            return 0;
        address[0] = ip->source[0];
        address[1] = ip->source[1];
        address[2] = ip->source[2];
        address[3] = ip->source[3];
    } else {
        address[0] = 0;
        address[1] = 0;
        address[2] = to_be32(0xffff);
        address[3] = p->key >> 32;
    }
    return 1;
}

INLINE u32 ask_gate(struct packet *p)
{
    u32 first = p->is_v6 ? (u32)p->key : (u32)(p->key >> 32);
    u32 bit = p->is_v6 ? (first * 0x9e3779b1U) >> 16 : from_be16(first & 0xffff);
    u64 index = (p->is_v6 ? 1024 : 0) + bounded(bit >> 6, 1023);
    struct gate_word *word = WHOLE(struct gate_word, AT_GATE) + index;
    u32 shift = bit & 63;
    return ((word->allow >> shift) & 1) * GATE_ALLOW + ((word->ban >> shift) & 1) * GATE_BAN +
           ((word->own >> shift) & 1) * GATE_OWN;
}

INLINE int is_own(struct packet *p)
{
    struct own_key key = {};
    return source_address(p, key.address) && own.lookup(&key);
}

INLINE int is_allowed(struct packet *p)
{
    struct trie6_key key = {.length = 128};
    if (!source_address(p, key.address))
        return 0;
    if (p->is_v6)
        return allow6.lookup(&key) != 0;
    struct trie4_key key4 = {.length = 32, .address = key.address[3]};
    return allow4.lookup(&key4) != 0;
}

INLINE int is_prefix_banned(struct packet *p)
{
    struct trie6_key key = {.length = 128};
    struct ban_value *ban;
    if (!source_address(p, key.address))
        return 0;
    if (p->is_v6) {
        ban = ban_prefix6.lookup(&key);
    } else {
        struct trie4_key key4 = {.length = 32, .address = key.address[3]};
        ban = ban_prefix4.lookup(&key4);
    }
    if (!ban || ban->expiry <= expiry_now(p))
        return 0;
    lock_xadd(&ban->dropped.packets, 1);
    lock_xadd(&ban->dropped.bytes, p->length);
    return 1;
}

#endif

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Other dress for the same packet: what a wall must judge alike.
 */
#ifndef FUZZ_TWINS_H
#define FUZZ_TWINS_H

#include "mutate.h"

/* The same in one more tag; 0 where it would have too many or be too long. */
static int in_a_tag(const struct packet *p, struct packet *twin)
{
    u32 tags = 0, at = 12;
    while (at + 2 <= p->size && is_tag(get16(p->data + at))) {
        tags++;
        at += 4;
    }
    if (tags >= 2 || at + 2 > p->size || p->size + 4 > longest)
        return 0;
    memcpy(twin, p, sizeof(p->size) + p->size);
    static const u16 TYPES[] = {0x8100, 0x88a8, 0x9100};
    tag(twin, TYPES[below(3)], below(65536));
    return 1;
}

/* Pairs of addresses with the same role, by number. */
struct pair {
    u8 v4[4];
    u8 v6[16];
};
#define MOST_PAIRS 32
static struct pair pairs[MOST_PAIRS];
static int pair_count;

/*
 * The same transport in IPv4 and in IPv6, with sources of the same role and targets of ours. 0 where there is no such pair:
 * another IP version or header length than right, a protocol number that means something else in the other family, messages
 * of ICMP that keep a link alive, and offsets that only one family's longest packet allows.
 */
static int in_both_families(const struct packet *p, struct packet *four, struct packet *six)
{
    struct layers l;
    look(p->data, p->size, &l);
    if (!l.has_ip || !l.transport || !pair_count || l.transport > p->size || l.ip_end < l.transport)
        return 0;
    if (l.type == TYPE_IPV4 && (l.l4 < l.l3 + 20 || p->data[l.l3] >> 4 != 4))
        return 0;
    u32 protocol = l.last_header, rest = p->size - l.transport, promised = l.ip_end - l.transport;
    int is_icmp = protocol == 1 || protocol == 58;
    if (is_extension(protocol) || protocol == 59)
        return 0;
    if (promised > 60000 || rest > longest - 80 || (l.offset + promised > 65515 - 40 && l.fragment))
        return 0;
    u32 hops = p->data[l.l3 + (l.type == TYPE_IPV4 ? 8 : 7)];
    if (is_icmp && hops == 255)
        hops = 254;
    const struct pair *pair = &pairs[below(pair_count)];

    memset(four->data, 0, 34);
    memset(six->data, 0, 62);
    memcpy(four->data, p->data, 12);
    memcpy(six->data, p->data, 12);
    put16(four->data + 12, TYPE_IPV4);
    put16(six->data + 12, TYPE_IPV6);
    u8 *ip = four->data + 14;
    ip[0] = 0x45;
    put16(ip + 2, 20 + promised);
    put16(ip + 6, l.offset / 8 | (l.fragment && p->data[0] & 2 ? 0x2000 : l.fragment == 1 ? 0x2000 : 0));
    int more = ip[6] & 0x20;
    ip[8] = hops;
    ip[9] = protocol == 58 ? 1 : protocol;
    memcpy(ip + 12, pair->v4, 4);
    memcpy(ip + 16, (u8[]){198, 51, 100, 1}, 4);
    memcpy(ip + 20, p->data + l.transport, rest);
    four->size = 34 + rest;

    ip = six->data + 14;
    ip[0] = 0x60;
    u32 extra = l.fragment ? 8 : 0;
    put16(ip + 4, extra + promised);
    ip[6] = l.fragment ? 44 : protocol == 1 ? 58 : protocol;
    ip[7] = hops;
    memcpy(ip + 8, pair->v6, 16);
    memcpy(ip + 24, (u8[]){0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 16);
    if (extra) {
        ip[40] = protocol == 1 ? 58 : protocol;
        put16(ip + 42, l.offset | (more ? 1 : 0));
    }
    memcpy(ip + 40 + extra, p->data + l.transport, rest);
    six->size = 54 + extra + rest;
    return 1;
}

/* The answer to a packet, as this host would send it; 0 where there is none. */
static int turned_round(const struct packet *p, struct packet *answer)
{
    struct layers l;
    look(p->data, p->size, &l);
    if (!l.has_ip)
        return 0;
    memcpy(answer, p, sizeof(p->size) + p->size);
    u8 *ip = answer->data + l.l3, swap[16];
    u32 size = l.type == TYPE_IPV4 ? 4 : 16, source = l.type == TYPE_IPV4 ? 12 : 8;
    memcpy(swap, ip + source, size);
    memcpy(ip + source, ip + source + size, size);
    memcpy(ip + source + size, swap, size);
    memcpy(answer->data, p->data + 6, 6);
    memcpy(answer->data + 6, p->data, 6);
    if (l.transport && l.transport + 4 <= p->size && (l.last_header == 6 || l.last_header == 17)) {
        memcpy(answer->data + l.transport, p->data + l.transport + 2, 2);
        memcpy(answer->data + l.transport + 2, p->data + l.transport, 2);
    }
    return 1;
}

#endif

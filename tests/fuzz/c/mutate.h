/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets made from other packets: by what the fields mean, and blindly.
 */
#ifndef FUZZ_MUTATE_H
#define FUZZ_MUTATE_H

#include "layers.h"

struct packet {
    u32 size;
    u8 data[LONGEST];
};

static u32 longest = 1514; /* of a frame; more for a wall with jumbo frames */
static u64 dice_state = 1;

/* xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016). */
static u64 dice(void)
{
    dice_state ^= dice_state >> 12;
    dice_state ^= dice_state << 25;
    dice_state ^= dice_state >> 27;
    return dice_state * 0x2545f4914f6cdd1dULL;
}

static u32 below(u32 end)
{
    return end ? (dice() >> 32) % end : 0;
}

static const u8 BYTES[] = {0,  1,  2,  4,  5,  6,  8,  15,  16,  17,  20,  40,
                           43, 44, 51, 58, 59, 60, 64, 127, 128, 135, 224, 255};
static const u16 WORDS[] = {0,      1,      7,      8,      19,     20,     21,     40,     53,     67,     68,
                            80,     443,    1480,   1500,   0x1fff, 0x2000, 0x2001, 0x3fff, 0x4000, 0x7fff, 0x8000,
                            0x8100, 0x88a8, 0x9100, 0x0800, 0x86dd, 0xfff8, 0xfff9, 0xfffe, 0xffff, 0x0600};
static const u8 PROTOCOLS[] = {0,  1,  2,  4,  6,  6,  6,  17, 17, 17,  41,  43,
                               44, 47, 50, 51, 58, 58, 59, 60, 89, 112, 132, 255};
static const u8 TCP_FLAGS[] = {2, 2, 2, 0x10, 0x10, 0x18, 0x12, 0x11, 4, 0x14, 0xc2, 0x22, 0, 1, 3, 6, 0x29, 0xff};
/* A listener of the wall under test, an administrator's door, a closed one, and what has a budget of its own. */
static const u16 PORTS[] = {443, 443, 443, 53, 53, 22, 9, 0, 80, 8443, 123, 40000, 50000};
static const u8 OPTIONS[][12] = {{4, 2, 4, 5, 0xb4},
                                 {4, 4, 2, 1, 1},
                                 {12, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1},
                                 {4, 1, 3, 3, 7},
                                 {4, 1, 1, 1, 1},
                                 {4, 3, 3, 15, 0},
                                 {4, 8, 9, 1, 1},
                                 {4, 0xfe, 0, 1, 1},
                                 {4, 0xfe, 1, 1, 1},
                                 {8, 19, 18, 1, 2, 3, 4, 5},
                                 {4, 29, 4, 1, 1},
                                 {4, 5, 2, 4, 2}};

static void open_gap(struct packet *p, u32 at, u32 size)
{
    if (at > p->size || p->size + size > longest)
        return;
    memmove(p->data + at + size, p->data + at, p->size - at);
    memset(p->data + at, 0, size);
    p->size += size;
}

static void close_gap(struct packet *p, u32 at, u32 size)
{
    if (at + size > p->size)
        return;
    memmove(p->data + at, p->data + at + size, p->size - at - size);
    p->size -= size;
}

/* IP and UDP lengths that agree with the frame. */
static void mend(struct packet *p)
{
    struct layers l;
    look(p->data, p->size, &l);
    if (!l.has_ip)
        return;
    u8 *ip = p->data + l.l3;
    if (l.type == TYPE_IPV4) {
        ip[0] = 0x40 | ((ip[0] & 15) < 5 ? 5 : ip[0] & 15);
        put16(ip + 2, p->size - l.l3);
    } else {
        ip[0] = 0x60 | (ip[0] & 15);
        put16(ip + 4, p->size - l.l3 - 40);
    }
    look(p->data, p->size, &l);
    if (l.last_header == 17 && l.transport && l.transport + 8 <= p->size && l.fragment != 2)
        put16(p->data + l.transport + 4, p->size - l.transport);
    if (l.last_header == 6 && l.transport && l.transport + 20 <= p->size && l.fragment != 2) {
        u8 *tcp = p->data + l.transport;
        u32 words = tcp[12] >> 4;
        if (words < 5 || l.transport + words * 4 > p->size)
            tcp[12] = 0x50 | (tcp[12] & 15);
    }
}

static void tag(struct packet *p, u32 type, u32 control)
{
    open_gap(p, 12, 4);
    put16(p->data + 12, type);
    put16(p->data + 14, control);
}

static void change_tags(struct packet *p)
{
    static const u16 TYPES[] = {0x8100, 0x8100, 0x88a8, 0x9100};
    if (p->size >= 18 && is_tag(get16(p->data + 12)) && below(2))
        close_gap(p, 12, 4);
    else
        tag(p, TYPES[below(4)], below(65536));
}

static void change_source(struct packet *p, const struct layers *l)
{
    if (!l->has_ip || !role_count)
        return;
    u8 *ip = p->data + l->l3;
    u32 family = l->type == TYPE_IPV4 ? 4 : 6, size = family == 4 ? 4 : 16;
    u8 *source = ip + (family == 4 ? 12 : 8);
    if (!below(4)) { /* somebody new */
        source[size - 1] = dice();
        source[2] = dice();
        source[3] = dice();
        return;
    }
    const struct role_entry *entry = &roles[below(role_count)];
    if (entry->family != family)
        return;
    memcpy(source, entry->address, size);
    for (u32 bit = entry->bits; bit < size * 8; bit++)
        source[bit / 8] ^= (dice() >> 40 & 1) << (7 - bit % 8);
}

/* The wall under test has this address: what comes to it finds listeners. */
static void change_target(struct packet *p, const struct layers *l)
{
    static const u8 OURS4[] = {198, 51, 100, 1};
    static const u8 OURS6[] = {0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    static const u8 LINK6[] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    if (!l->has_ip)
        return;
    u8 *ip = p->data + l->l3;
    u32 kind = below(8);
    if (l->type == TYPE_IPV4) {
        memcpy(ip + 16, OURS4, 4);
        if (kind == 0)
            put16(ip + 16, 0xe000), ip[18] = below(2), ip[19] = below(256);
        if (kind == 1)
            memcpy(ip + 16, ip + 12, 4);
    } else {
        memcpy(ip + 24, kind == 0 ? LINK6 : OURS6, 16);
        if (kind == 1)
            memcpy(ip + 24, ip + 8, 16);
    }
}

static void change_ipv4(struct packet *p, const struct layers *l)
{
    u8 *ip = p->data + l->l3;
    switch (below(9)) {
    case 0: { /* options */
        u32 size = (1 + below(10)) * 4;
        if ((ip[0] & 15) * 4 + size > 60)
            size = 4;
        if ((ip[0] & 15) == 15 || l->l3 + 20 + size > longest)
            return;
        open_gap(p, l->l3 + 20, size);
        memset(p->data + l->l3 + 20, below(2) ? 1 : below(256), size);
        ip[0] += size / 4;
        break;
    }
    case 1:
        ip[0] = (ip[0] & 0xf0) | below(16);
        break;
    case 2: /* a length that lies, mostly by little */
        put16(ip + 2, below(2) ? get16(ip + 2) + below(41) - 20 : WORDS[below(sizeof(WORDS) / 2)]);
        break;
    case 3:
        put16(ip + 6, below(2) ? below(65536) : WORDS[below(sizeof(WORDS) / 2)]);
        break;
    case 4:
        ip[6] ^= 0x20;
        break;
    case 5:
        ip[9] = PROTOCOLS[below(sizeof(PROTOCOLS))];
        break;
    case 6:
        ip[8] = below(2) ? 255 : below(256);
        break;
    case 7:
        ip[0] = (dice() & 0xf0) | (ip[0] & 15);
        break;
    default:
        ip[1] = dice();
    }
}

static void add_extension(struct packet *p, const struct layers *l)
{
    static const u8 KINDS[] = {0, 43, 44, 44, 51, 60};
    u32 kind = KINDS[below(sizeof(KINDS))], units = below(4) ? 0 : below(3);
    u32 size = kind == 44 ? 8 : kind == 51 ? 8 + units * 4 : 8 + units * 8;
    if (l->l3 + 40 + size > longest || p->size + size > longest)
        return;
    u8 *ip = p->data + l->l3;
    open_gap(p, l->l3 + 40, size);
    u8 *header = ip + 40;
    header[0] = ip[6];
    header[1] = kind == 44 ? 0 : below(16) ? units : below(256);
    if (kind == 43)
        header[2] = below(3) * 2;
    if (kind == 44)
        put16(header + 2, below(3) ? below(2) : below(65536));
    ip[6] = kind;
    put16(ip + 4, get16(ip + 4) + size);
}

static void change_ipv6(struct packet *p, const struct layers *l)
{
    u8 *ip = p->data + l->l3;
    switch (below(8)) {
    case 0:
    case 1:
    case 2:
        add_extension(p, l);
        break;
    case 3:
        put16(ip + 4, below(2) ? get16(ip + 4) + below(41) - 20 : WORDS[below(sizeof(WORDS) / 2)]);
        break;
    case 4:
        ip[6] = PROTOCOLS[below(sizeof(PROTOCOLS))];
        break;
    case 5:
        ip[7] = below(2) ? 255 : below(256);
        break;
    case 6: /* anything in the chain */
        if (l->transport > l->l3 + 40)
            p->data[l->l3 + 40 + below(l->transport - l->l3 - 40)] = BYTES[below(sizeof(BYTES))];
        break;
    default:
        ip[0] = (dice() & 0xf0) | (ip[0] & 15);
    }
}

static void change_tcp(struct packet *p, u32 at)
{
    u8 *tcp = p->data + at;
    switch (below(7)) {
    case 0:
        tcp[13] = below(4) ? TCP_FLAGS[below(sizeof(TCP_FLAGS))] : dice();
        break;
    case 1:
        tcp[12] = dice();
        break;
    case 2:
        put16(tcp, below(4) ? 1024 + below(60000) : PORTS[below(sizeof(PORTS) / 2)]);
        break;
    case 3:
        put16(tcp + 2, PORTS[below(sizeof(PORTS) / 2)]);
        break;
    case 4: { /* one more option */
        const u8 *option = OPTIONS[below(sizeof(OPTIONS) / sizeof(OPTIONS[0]))];
        u32 size = option[0];
        if ((tcp[12] >> 4) * 4 + size > 60 || p->size + size > longest)
            return;
        open_gap(p, at + 20, size);
        memcpy(p->data + at + 20, option + 1, size > 11 ? 11 : size);
        tcp[12] += size / 4 << 4;
        break;
    }
    case 5:
        for (int i = 4; i < 12; i++)
            tcp[i] = dice();
        break;
    default:
        put16(tcp + 14, dice());
    }
}

static void change_transport(struct packet *p, const struct layers *l)
{
    u32 at = l->transport;
    if (!at)
        return;
    if (l->last_header == 6 && at + 20 <= p->size)
        change_tcp(p, at);
    else if (l->last_header == 17 && at + 8 <= p->size)
        put16(p->data + at + below(3) * 2, below(2) ? PORTS[below(sizeof(PORTS) / 2)] : below(65536));
    else if (at + 8 <= p->size) { /* ICMP: types, and the packet that it quotes */
        static const u8 TYPES[] = {0, 3, 8, 11, 12, 1, 2, 4, 128, 129, 130, 133, 134, 135, 136, 137, 143};
        p->data[at] = below(8) ? TYPES[below(sizeof(TYPES))] : dice();
        u32 quoted = 28 + below(40);
        if (below(3) || at + 8 + quoted > longest)
            return;
        u32 had = p->size - l->l3 < quoted ? p->size - l->l3 : quoted;
        memmove(p->data + at + 8, p->data + l->l3, had);
        if (p->size < at + 8 + quoted)
            p->size = at + 8 + quoted;
    }
}

static void change_blindly(struct packet *p, const struct packet *other)
{
    u32 at = below(p->size), size;
    switch (below(9)) {
    case 0:
        p->data[at] ^= 1 << below(8);
        break;
    case 1:
        p->data[at] = dice();
        break;
    case 2:
        p->data[at] = BYTES[below(sizeof(BYTES))];
        break;
    case 3:
        if (at + 2 <= p->size)
            put16(p->data + at, WORDS[below(sizeof(WORDS) / 2)]);
        break;
    case 4: /* cut */
        p->size = 14 + below(p->size - 13);
        break;
    case 5: /* padding */
        size = below(4) ? below(64) : below(longest);
        if (p->size + size <= longest) {
            memset(p->data + p->size, below(3) ? 0 : dice(), size);
            p->size += size;
        }
        break;
    case 6:
        size = 1 + below(16);
        if (p->size > size + 14)
            close_gap(p, 14 + below(p->size - size - 14), size);
        break;
    case 7:
        open_gap(p, 14 + below(p->size - 13), 1 + below(16));
        break;
    default: /* the end of another */
        at = 14 + below(p->size - 13);
        if (at < other->size) {
            memcpy(p->data + at, other->data + at, other->size - at);
            p->size = other->size;
        }
    }
}

/* One to eight changes. `other` is any packet of the corpus. */
static void mutate(struct packet *p, const struct packet *other)
{
    struct layers l;
    for (u32 i = 1 + below(below(2) ? 3 : 8); i; i--) {
        look(p->data, p->size, &l);
        u32 kind = below(16);
        if (kind < 3)
            change_blindly(p, other);
        else if (kind == 3)
            change_tags(p);
        else if (kind == 4)
            mend(p);
        else if (kind <= 6)
            change_source(p, &l);
        else if (kind == 7)
            change_target(p, &l);
        else if (kind <= 11 && l.has_ip && l.type == TYPE_IPV4)
            change_ipv4(p, &l);
        else if (kind <= 11 && l.has_ip)
            change_ipv6(p, &l);
        else
            change_transport(p, &l);
    }
    if (below(3))
        mend(p);
    if (p->size < 14)
        p->size = 14;
}

#endif

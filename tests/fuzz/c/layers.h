/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where the layers of a frame begin, as far as they can be told; and what must hold of it, whatever else is in it. Written
 * from the RFCs, not from the wall's parser: it is there to be compared with that one.
 */
#ifndef FUZZ_LAYERS_H
#define FUZZ_LAYERS_H

#include "kernel.h"

#define TYPE_IPV4 0x0800
#define TYPE_IPV6 0x86dd

/* Who a source is to the wall under test, see roles. In the order in which the wall asks. */
enum role { ROLE_NOBODY, ROLE_OWN, ROLE_ALLOWED, ROLE_BANNED, ROLE_PREFIX_BANNED };

struct layers {
    u32 type; /* behind the tags; 0 where the frame ends before */
    u32 tags;
    u32 l3;
    int has_ip; /* the fixed header is there whole */
    u32 ip_end; /* where the IP header says that the packet ends */
    u32 l4;     /* behind IPv4's options; IPv6: behind the fixed header */
    u32 protocol;
    u32 transport;   /* behind the extension headers, too; 0: not found */
    u32 last_header; /* the protocol there */
    int fragment;    /* 1: first, 2: later */
    u32 offset;      /* of the fragment, bytes */
    enum role role;
    int is_link; /* it may be what keeps a link alive, by its addresses and hop limit */
    int sane;    /* IP version, header length and total length agree with the frame */
};

/* One entry of a list of the wall under test. */
struct role_entry {
    u8 family; /* 4 or 6 */
    u8 bits;
    u8 role;
    u8 address[16];
};

#define MOST_ROLES 256
static struct role_entry roles[MOST_ROLES];
static int role_count;

static u32 get16(const u8 *at)
{
    return at[0] << 8 | at[1];
}

static void put16(u8 *at, u32 value)
{
    at[0] = value >> 8;
    at[1] = value;
}

static int is_tag(u32 type)
{
    return type == 0x8100 || type == 0x88a8 || type == 0x9100;
}

static int within(const struct role_entry *entry, const u8 *address)
{
    int whole = entry->bits / 8, rest = entry->bits % 8;
    if (memcmp(entry->address, address, whole))
        return 0;
    return !rest || !((entry->address[whole] ^ address[whole]) >> (8 - rest));
}

static enum role role_of(u32 family, const u8 *address)
{
    enum role best = ROLE_NOBODY;
    for (int i = 0; i < role_count; i++) {
        if (roles[i].family == family && within(&roles[i], address) && (!best || roles[i].role < best))
            best = roles[i].role;
    }
    return best;
}

static int is_extension(u32 protocol)
{
    return protocol == 0 || protocol == 43 || protocol == 44 || protocol == 51 || protocol == 60;
}

static void look_behind_ipv6(const u8 *frame, u32 size, struct layers *l)
{
    u32 at = l->l3 + 40, next = frame[l->l3 + 6];
    for (int i = 0; i < 16 && is_extension(next); i++) {
        if (at + 8 > size)
            return;
        u32 length = next == 44 ? 8 : next == 51 ? 8 + frame[at + 1] * 4 : 8 + frame[at + 1] * 8;
        if (next == 44) {
            u32 bits = get16(frame + at + 2);
            l->offset = bits & 0xfff8;
            l->fragment = l->offset ? 2 : bits & 1 ? 1 : 0;
        }
        next = frame[at];
        at += length;
        if (l->fragment == 2)
            break;
    }
    if (at <= size && !(is_extension(next) && l->fragment != 2)) {
        l->transport = at;
        l->last_header = next;
    }
}

static void look(const u8 *frame, u32 size, struct layers *l)
{
    memset(l, 0, sizeof(*l));
    u32 at = 12;
    while (at + 2 <= size && is_tag(get16(frame + at)) && l->tags < 2) {
        l->tags++;
        at += 4;
    }
    if (at + 2 > size)
        return;
    l->type = get16(frame + at);
    l->l3 = at + 2;
    const u8 *ip = frame + l->l3;
    if (l->type == TYPE_IPV4 && l->l3 + 20 <= size) {
        u32 header = (ip[0] & 15) * 4, total = get16(ip + 2);
        l->has_ip = 1;
        l->ip_end = l->l3 + total;
        l->l4 = l->l3 + header;
        l->protocol = l->last_header = ip[9];
        l->offset = (get16(ip + 6) & 0x1fff) * 8;
        l->fragment = l->offset ? 2 : ip[6] & 0x20 ? 1 : 0;
        l->sane = ip[0] >> 4 == 4 && header >= 20 && total >= header && l->ip_end <= size;
        if (l->l4 <= size)
            l->transport = l->l4;
        l->role = role_of(4, ip + 12);
        int dhcp = !memcmp(ip + 12, "\0\0\0\0\xff\xff\xff\xff", 8) && ip[9] == 17;
        l->is_link = (ip[16] == 224 && ip[17] == 0 && ip[18] == 0) || dhcp;
    } else if (l->type == TYPE_IPV6 && l->l3 + 40 <= size) {
        l->has_ip = 1;
        l->ip_end = l->l3 + 40 + get16(ip + 4);
        l->l4 = l->l3 + 40;
        l->protocol = ip[6];
        l->sane = ip[0] >> 4 == 6 && l->ip_end <= size;
        look_behind_ipv6(frame, size, l);
        l->role = role_of(6, ip + 8);
        l->is_link = (ip[24] == 0xff && (ip[25] & 15) == 2) || ip[7] == 255;
    }
}

/* RFC 1071, to be folded; the sum is of 16-bit words in network order. */
static u32 add_up(const u8 *data, u32 size, u32 sum)
{
    for (u32 i = 0; i + 1 < size; i += 2)
        sum += get16(data + i);
    if (size & 1)
        sum += data[size - 1] << 8;
    return sum;
}

static u32 fold(u32 sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/* Is the checksum of the TCP segment at `at` right? */
static int tcp_sum_right(const u8 *frame, const struct layers *l, u32 length)
{
    const u8 *ip = frame + l->l3;
    u32 sum = l->type == TYPE_IPV4 ? add_up(ip + 12, 8, 0) : add_up(ip + 8, 32, 0);
    sum += 6 + length;
    return fold(add_up(frame + l->transport, length, sum)) == 0xffff;
}

#endif

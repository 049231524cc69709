/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From raw bytes to struct packet. Nothing in here passes a packet because it does not know it: what cannot be read is
 * dropped under its own reason. Each function gives REASON_PASS to go on, or the reason to stop.
 */
#ifndef XDPWALL_PARSE_H
#define XDPWALL_PARSE_H

/* A chain longer than this is no real packet (RFC 8200 names seven kinds; most stacks send none or one). */
#define MAX_EXTENSIONS 8

INLINE int is_extension(u64 protocol)
{
    return protocol == PROTO_HOP_BY_HOP || protocol == PROTO_ROUTING || protocol == PROTO_FRAGMENT ||
           protocol == PROTO_AH || protocol == PROTO_DEST_OPTIONS;
}

/* Ethernet and up to two VLAN tags. Leaves the offset of what follows in p->l3; its type through *type. */
INLINE enum reason parse_ethernet(struct packet *p, __be16 *type)
{
    struct eth_header *eth = p->data;
    if ((void *)(eth + 1) > p->end)
        return REASON_TRUNCATED;
    *type = eth->type;
    p->l3 = ETH_HEADER;
#pragma unroll
    for (int i = 0; i < 3; i++) {
        if (*type != ETH_VLAN && *type != ETH_QINQ && *type != ETH_QINQ_OLD)
            return REASON_PASS;
        if (i == 2)
            return REASON_VLAN_DEPTH;
        struct vlan_tag *tag = p->data + p->l3;
        if ((void *)(tag + 1) > p->end)
            return REASON_TRUNCATED;
        *type = tag->type;
        p->l3 += sizeof(*tag);
    }
    return REASON_PASS;
}

/*
 * Checks common to both families. offset: of this fragment's data within the packet. length: of that data. longest: what
 * the whole packet can carry; IPv4 counts its header in the 65,535 bytes, IPv6 does not. is_tcp: what it belongs to.
 * RFC 791: all but the last carry a multiple of 8; RFC 3128: no TCP fragment may begin inside the header.
 */
INLINE enum reason check_fragment(u64 offset, u64 length, u64 longest, u64 more, u64 is_tcp)
{
    if (offset + length > longest)
        return REASON_FRAGMENT;
    if (more && (length == 0 || (length & 7)))
        return REASON_FRAGMENT;
    if (is_tcp && offset && offset < sizeof(struct tcp_header))
        return REASON_FRAGMENT;
    return REASON_PASS;
}

INLINE enum reason parse_ipv4(struct packet *p)
{
    struct ipv4_header *ip = p->data + p->l3;
    if ((void *)(ip + 1) > p->end)
        return REASON_TRUNCATED;
    u32 source = ip->source;
    p->key = ((u64)source << 32) | V4_MARK;
    p->protocol = ip->protocol;
    p->hop_limit = ip->ttl;
    /* 224.0.0.0/24 never crosses a router: IGMP, VRRP, OSPF, mDNS. */
    p->is_link = (ip->target & to_be32(0xffffff00)) == to_be32(0xe0000000);

    u64 header = (ip->version_length & 15) * 4;
    if (ip->version_length >> 4 != 4 || header < sizeof(*ip))
        return REASON_IP_HEADER;
    u64 total = from_be16(ip->total_length);
    if (total < header || p->l3 + total > p->length)
        return REASON_IP_LENGTH;
    p->l4 = p->l3 + header;
    p->l4_length = total - header;

    u64 first = source & 0xff;
    if (first == 127 || (first & 0xf0) == 224 || source == 0xffffffff || source == ip->target)
        return REASON_SOURCE_IMPOSSIBLE;
    if (first == 0 && (source || !p->is_link)) {
        /*
         * 0.0.0.0 has one use beside link multicast: a DHCP client that has no address yet, which asks everybody (RFC 2131
         * section 4.1). A broadcast comes from the link; to one address anybody could send it, past every budget.
         */
        struct udp_header *udp = p->data + p->l4;
        if (source != 0 || ip->target != 0xffffffff || ip->protocol != PROTO_UDP ||
            ip->fragment & to_be16(IPV4_OFFSET | IPV4_MORE_FRAGMENTS) || p->l4_length < sizeof(*udp) ||
            (void *)(udp + 1) > p->end || udp->source != DHCP_CLIENT || udp->target != DHCP_SERVER)
            return REASON_SOURCE_IMPOSSIBLE;
        p->is_link = 1;
    }

    u64 bits = from_be16(ip->fragment);
    if (bits & (IPV4_OFFSET | IPV4_MORE_FRAGMENTS)) {
        u64 offset = (bits & IPV4_OFFSET) * 8;
        p->fragment = offset ? LATER_FRAGMENT : FIRST_FRAGMENT;
        return check_fragment(offset, p->l4_length, 65535 - header, bits & IPV4_MORE_FRAGMENTS,
                              p->protocol == PROTO_TCP);
    }
    return REASON_PASS;
}

/* Walks the extension headers. `left` is what the IPv6 header promises from p->l4 on. */
INLINE enum reason parse_extensions(struct packet *p, u64 left)
{
    u64 fragmented = 0;
    for (int i = 0; i < MAX_EXTENSIONS; i++) {
        /* 6.1 and later need the bound in this register before it becomes a packet offset. */
        u64 at = p->l4 & 0xffff;
        struct extension_header *extension = p->data + at;
        if (left < sizeof(*extension) || (void *)(extension + 1) > p->end)
            return REASON_TRUNCATED;
        u64 kind = p->protocol;
        u64 size = 8 + extension->length * 8;
        p->protocol = extension->next;
        if (kind == PROTO_FRAGMENT) {
            struct fragment_header *fragment = (void *)extension;
            u64 bits = from_be16(fragment->offset);
            u64 offset = bits & IPV6_OFFSET;
            u64 more = bits & IPV6_MORE_FRAGMENTS;
            if (fragmented)
                return REASON_EXTENSION_CHAIN;
            fragmented = 1;
            size = sizeof(*fragment);
            p->l4 = at + size;
            left -= size;
            p->l4_length = left;
            /* Neither offset nor more: an "atomic" fragment (RFC 6946), an ordinary packet. */
            if (offset || more) {
                p->fragment = offset ? LATER_FRAGMENT : FIRST_FRAGMENT;
                enum reason reason = check_fragment(offset, left, 65535, more, p->protocol == PROTO_TCP);
                if (reason || offset)
                    return reason;
            }
        } else {
            if (kind == PROTO_HOP_BY_HOP && i != 0)
                return REASON_EXTENSION_CHAIN;
            if (kind == PROTO_ROUTING && extension->type == 0) /* RFC 5095 */
                return REASON_EXTENSION_CHAIN;
            if (kind == PROTO_AH)
                size = 8 + extension->length * 4;
            if (size > left)
                return REASON_TRUNCATED;
            p->l4 = at + size;
            left -= size;
            p->l4_length = left;
        }
        if (!is_extension(p->protocol))
            return REASON_PASS;
    }
    return REASON_EXTENSION_CHAIN;
}

INLINE enum reason parse_ipv6(struct packet *p)
{
    struct ipv6_header *ip = p->data + p->l3;
    if ((void *)(ip + 1) > p->end)
        return REASON_TRUNCATED;
    u64 high = *(u64 *)&ip->source[0];
    p->key = high;
    p->is_v6 = 1;
    p->protocol = ip->next;
    p->hop_limit = ip->hop_limit;
    p->is_link = (ip->target[0] & to_be32(0xff0f0000)) == to_be32(0xff020000); /* link-local scope multicast */

    if (ip->version_class >> 4 != 6)
        return REASON_IP_HEADER;
    u64 payload = from_be16(ip->payload_length);
    p->l4 = p->l3 + sizeof(*ip);
    p->l4_length = payload;
    if (p->l4 + payload > p->length)
        return REASON_IP_LENGTH;

    /*
     * ::/64 holds only what no host sends from: loopback, IPv4-compatible, IPv4-mapped; and :: itself, which a host has
     * before it has an address, to its neighbours alone.
     */
    u64 low = *(u64 *)&ip->source[2];
    if (high == 0 && (low || !p->is_link))
        return REASON_SOURCE_IMPOSSIBLE;
    if ((high & 0xff) == 0xff || (high == *(u64 *)&ip->target[0] && low == *(u64 *)&ip->target[2]))
        return REASON_SOURCE_IMPOSSIBLE;
    if (is_extension(p->protocol))
        return parse_extensions(p, payload);
    return REASON_PASS;
}

/*
 * Flag sets that no stack sends, one bit for each value of the low six flags (URG ACK PSH RST SYN FIN). Possible are:
 * SYN, RST, and anything with ACK, where of SYN, RST and FIN only one may stand; PSH and URG go with ACK or SYN.
 * The list is that of netfilter's tcp_valid_flags (nf_conntrack_proto_tcp.c), which also ignores PSH, ECE and CWR.
 */
INLINE int impossible_flags(u64 flags)
{
    u64 f = flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK | TCP_URG);
    u64 possible = 1ULL << TCP_SYN | 1ULL << (TCP_SYN | TCP_URG) | 1ULL << (TCP_SYN | TCP_ACK) | 1ULL << TCP_RST |
                   1ULL << (TCP_RST | TCP_ACK) | 1ULL << (TCP_FIN | TCP_ACK) | 1ULL << (TCP_FIN | TCP_ACK | TCP_URG) |
                   1ULL << TCP_ACK | 1ULL << (TCP_ACK | TCP_URG);
    return !((possible >> f) & 1);
}

/* The transport header, unless this is a later fragment. Sets p->kinds, and what the lanes ask for. */
INLINE enum reason parse_transport(struct packet *p)
{
    u64 first = p->fragment == FIRST_FRAGMENT;
    u64 always = first ? ALWAYS_OVER : 0;
    p->lane = LANE_OTHER | always;
    if (p->fragment)
        p->kinds |= KIND_FRAGMENT;
    if (p->protocol == PROTO_UDP)
        p->kinds |= KIND_UDP;
    if (p->protocol == PROTO_ICMP || p->protocol == PROTO_ICMPV6)
        p->kinds |= KIND_ICMP;
    if (p->fragment == LATER_FRAGMENT) {
        p->lane = LANE_FRAGMENT;
        return REASON_PASS;
    }

    enum reason too_short = first ? REASON_FRAGMENT : REASON_TRUNCATED;
    u64 at = p->l4 & 0xffff;
    if (p->protocol == PROTO_TCP) {
        struct tcp_header *tcp = p->data + at;
        if (p->l4_length < sizeof(*tcp) || (void *)(tcp + 1) > p->end)
            return too_short;
        u64 header = (tcp->length >> 4) * 4;
        if (header < sizeof(*tcp))
            return REASON_TCP_HEADER;
        if (header > p->l4_length)
            return first ? REASON_FRAGMENT : REASON_TCP_HEADER;
        if (!tcp->source || !tcp->target)
            return REASON_TCP_HEADER;
        p->ports = *(u32 *)&tcp->source;
        p->flags = tcp->flags;
        p->lane = LANE_TCP | always;
        if ((p->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
            p->kinds |= KIND_SYN;
            p->lane = LANE_SYN | ALWAYS_OVER;
        }
        return impossible_flags(p->flags) ? REASON_TCP_FLAGS : REASON_PASS;
    }
    if (p->protocol == PROTO_UDP) {
        struct udp_header *udp = p->data + at;
        if (p->l4_length < sizeof(*udp) || (void *)(udp + 1) > p->end)
            return too_short;
        p->ports = *(u32 *)&udp->source;
        p->lane = LANE_UDP | always;
        u64 length = from_be16(udp->length);
        if (length < sizeof(*udp) || (!first && length > p->l4_length))
            return REASON_UDP_LENGTH;
        return REASON_PASS;
    }
    if (p->protocol == PROTO_ICMP || p->protocol == PROTO_ICMPV6) {
        struct icmp_header *icmp = p->data + at;
        if ((p->protocol == PROTO_ICMPV6) != p->is_v6)
            return REASON_ICMP_HEADER;
        if (p->l4_length < sizeof(*icmp) || (void *)(icmp + 1) > p->end)
            return REASON_ICMP_HEADER;
        p->ports = *(u16 *)&icmp->type;
        p->lane = LANE_ICMP | always;
        /* A hop limit of 255 cannot come from beyond the link (RFC 4861 section 6.1); fragments are refused (RFC 6980). */
        if (p->is_v6 && p->hop_limit == 255 && !first && icmp->type >= ND_ROUTER_SOLICIT && icmp->type <= ND_REDIRECT)
            p->is_link = 1;
    }
    return REASON_PASS;
}

#endif

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What this host says, seen at the egress of its interfaces (clsact): the source of all proof. It changes no packet and
 * decides nothing: whatever it sees, the next filter has its turn.
 *
 * Noted is what cannot be provoked by a spoofed packet: a SYN of ours, data or a FIN on a connection (a socket sends them
 * only once the peer's acknowledgement was right; bare ACKs it sends to strangers, too), UDP from a port where nobody waits
 * for strangers, an echo request, any other protocol. A SYN-ACK only waits in `pending`; a RST is nothing.
 */
#ifndef XDPWALL_EGRESS_H
#define XDPWALL_EGRESS_H

/* From here on ports are given out to clients (the lower end of Linux's default ip_local_port_range). */
#define FIRST_EPHEMERAL 32768
/* They count as open always (dataplane/sockets.py): the client listens on a raw socket. But they serve nobody. */
#define DHCP_CLIENT_PORT 68
#define DHCPV6_CLIENT_PORT 546
/* Well-known ports of servers end here. */
#define FIRST_UNPRIVILEGED 1024

struct sent {
    u64 peer_key; /* as a source key, see packet.h */
    u64 l4;
    u64 l4_length;
    u64 protocol;
    u64 is_v6;
    u64 l3;
    u64 tagged; /* it leaves in a VLAN, whether the tag is in the frame yet or not */
};

/* Addresses and transport of what is being sent. 0 where it is nothing that could be noted. */
INLINE int parse_sent(void *data, void *end, u64 length, struct sent *s)
{
    struct eth_header *eth = data;
    if ((void *)(eth + 1) > end)
        return 0;
    __be16 type = eth->type;
    u64 at = ETH_HEADER;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        if (type == ETH_VLAN || type == ETH_QINQ || type == ETH_QINQ_OLD) {
            struct vlan_tag *tag = data + at;
            if ((void *)(tag + 1) > end)
                return 0;
            type = tag->type;
            at += sizeof(*tag);
        }
    }
    s->l3 = at;
    if (type == ETH_IPV4) {
        struct ipv4_header *ip = data + at;
        if ((void *)(ip + 1) > end || ip->fragment & to_be16(IPV4_OFFSET))
            return 0;
        u64 header = (ip->version_length & 15) * 4;
        s->peer_key = ((u64)ip->target << 32) | V4_MARK;
        s->protocol = ip->protocol;
        s->l4 = at + header;
        s->is_v6 = 0;
    } else if (type == ETH_IPV6) {
        struct ipv6_header *ip = data + at;
        if ((void *)(ip + 1) > end)
            return 0;
        s->peer_key = *(u64 *)&ip->target[0];
        s->protocol = ip->next;
        s->l4 = at + sizeof(*ip);
        s->is_v6 = 1;
        if (s->protocol == PROTO_FRAGMENT) {
            struct fragment_header *fragment = (void *)(ip + 1);
            if ((void *)(fragment + 1) > end || fragment->offset & to_be16(IPV6_OFFSET))
                return 0;
            s->protocol = fragment->next;
            s->l4 += sizeof(*fragment);
        }
    } else {
        return 0;
    }
    s->l4_length = length - s->l4; /* of the frame: what the kernel has not cut into segments yet is one long one */
    return length > s->l4;
}

INLINE u64 sent_hash(void *data, void *end, struct sent *s, u64 ports)
{
    u64 word = flow_word(ports, s->protocol, 0);
    u32 at = s->l3 & 0x3f;
    if (s->is_v6) {
        struct ipv6_header *ip = data + at;
        return (void *)(ip + 1) <= end ? flow_hash6(ip->target, ip->source, word) : 0;
    }
    struct ipv4_header *ip = data + at;
    return (void *)(ip + 1) <= end ? flow_hash4(ip->target, ip->source, word) : 0;
}

INLINE void note_tcp(void *data, void *end, struct sent *s, u64 now)
{
    struct tcp_header *tcp = data + (s->l4 & 0xff);
    if ((void *)(tcp + 1) > end || tcp->flags & TCP_RST)
        return;
    u64 ports = (u64)tcp->target | (u64)tcp->source << 16;
    u64 hash = sent_hash(data, end, s, ports);
    u64 header = (tcp->length >> 4) * 4;
    if (tcp->flags & TCP_SYN) {
        if (tcp->flags & TCP_ACK) {
            note_pending(hash, (from_be32(tcp->sequence) + 1) & 0xffffffff);
            if (COOKIES)
                learn_answer(data, end, s->l3, s->is_v6, s->tagged, tcp, now);
        } else {
            if (!find_proof(hash, now))
                watch_sent(data, end, s->l3, s->is_v6, WATCH_OPENED, from_be16(tcp->source), from_be16(tcp->target),
                           now);
            if (note_proof(hash, PROOF_TCP, now))
                note_peer(mix(s->peer_key));
        }
        return;
    }
    if (s->l4_length <= header && !(tcp->flags & TCP_FIN)) {
        if (refresh_proof(hash, now))
            note_peer(mix(s->peer_key));
        return;
    }
    u64 info = port_info(PROTO_TCP, from_be16(tcp->source));
    if (info & PORT_ADMIN && info & PORT_LISTENS && !find_proof(hash, now))
        watch_sent(data, end, s->l3, s->is_v6, WATCH_ADMIN_LOGIN, from_be16(tcp->source), from_be16(tcp->target), now);
    if (!note_proof(hash, PROOF_TCP, now))
        return;
    note_peer(mix(s->peer_key));
    if (info & PORT_LISTENS)
        note_proof(source_hash(s->peer_key), PROOF_SOURCE, now);
}

INLINE void note_udp(void *data, void *end, struct sent *s, u64 now)
{
    struct udp_header *udp = data + (s->l4 & 0xff);
    if ((void *)(udp + 1) > end)
        return;
    u64 local = from_be16(udp->source), remote = from_be16(udp->target);
    u64 hash = sent_hash(data, end, s, (u64)udp->target | (u64)udp->source << 16);
    u64 serves = port_info(PROTO_UDP, local) & PORT_LISTENS;
    /* A client's socket that was bound but not connected looks like a server's; its ports tell them apart. */
    if (serves && ((local >= FIRST_EPHEMERAL && remote < FIRST_UNPRIVILEGED) || local == DHCP_CLIENT_PORT ||
                   local == DHCPV6_CLIENT_PORT))
        serves = 0;
    if (!serves && !find_proof(hash, now))
        watch_sent(data, end, s->l3, s->is_v6, WATCH_OPENED_UDP, local, remote, now);
    if (note_proof(hash, serves ? PROOF_ANSWERED : PROOF_ASKED, now))
        note_peer(mix(s->peer_key));
}

/* tagged: the NIC is to put a VLAN tag into the frame. */
INLINE void note_sent(void *data, void *end, u64 length, u64 tagged, u64 now)
{
    struct sent s;
    if (!parse_sent(data, end, length, &s))
        return;
    s.tagged = tagged || s.l3 != ETH_HEADER;
    if (s.protocol == PROTO_TCP) {
        note_tcp(data, end, &s, now);
    } else if (s.protocol == PROTO_UDP) {
        note_udp(data, end, &s, now);
    } else if (s.protocol == PROTO_ICMP || s.protocol == PROTO_ICMPV6) {
        struct icmp_header *icmp = data + (s.l4 & 0xff);
        if ((void *)(icmp + 1) > end || icmp->type != (s.is_v6 ? ICMPV6_ECHO : ICMP_ECHO))
            return;
        if (note_proof(sent_hash(data, end, &s, icmp->rest & 0xffff), PROOF_PING, now))
            note_peer(mix(s.peer_key));
    } else if (note_proof(sent_hash(data, end, &s, 0), PROOF_ASKED, now)) {
        note_peer(mix(s.peer_key));
    }
}

#endif

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A botnet: each run writes one packet from scratch and sends it out of the interface that the run names (XDP_TX).
 * Driven by BPF_PROG_TEST_RUN with live frames, millions of times a second, by one thread (xdpwall/lab/pusher.py).
 *
 * Everything random comes from one seeded generator, so the same seed gives the same packets in the same order. Every
 * packet is whole: right lengths, right IP and L4 checksums.
 *
 * -D: SOURCES entries of that map; FRAME bytes of the longest frame, at least 80.
 */

#include "headers.h"
#include "sums.h"

#define CLASSES 8
#define MIN_FRAME 60 /* Ethernet's shortest, without its check sum */
#define HEAD 80      /* bytes that this program writes: nothing old may show through */
#define HOP_LIMIT 57

/* One bot. Written by the lab before the first run. */
struct source {
    __u32 address[4]; /* network order; IPv4 in the first word */
    __u32 sum;        /* of the 16-bit words of the address */
    __u32 version;    /* 4 or 6 */
};
BPF_F_TABLE("array", __u32, struct source, sources, SOURCES, 1024);

/* A class of bots. Shares are of 65,536, cumulative. Written by the lab. */
struct persona {
    __u32 until;       /* this class sends packets whose lot is below; the last class has 65,536 */
    __u32 first;       /* its bots: index of the first one ... */
    __u32 count;       /* ... and how many */
    __u32 udp_until;   /* lot of the protocol: below it UDP, ... */
    __u32 syn_until;   /* ... below it TCP SYN, else TCP ACK */
    __u32 payload_max; /* bytes of UDP payload: 18 to this */
    __u32 port_until;  /* TCP: share that goes to the service's port, the rest to random ports */
    __u32 mark;        /* last two bytes of the source MAC: class, 0 */
};
BPF_F_TABLE("array", __u32, struct persona, personas, CLASSES, 1024);

/* Key 0: where to, and the state of the run. The lab writes it before the first run, this program from then on. */
struct plan {
    __u64 packets;
    __u64 first_ns; /* CLOCK_MONOTONIC of the first packet */
    __u64 random;
    __u32 target4;
    __u32 target4_sum;
    __u32 target6[4];
    __u32 target6_sum;
    __u16 target_mac[3];
    __u16 port; /* network order */
    __u16 mark[2];
    __u32 active; /* share of the bots of each class that have joined, of 65,536; written by the lab as it grows */
    __u32 spare;
};
BPF_F_TABLE("array", __u32, struct plan, plan, 1, 1024);

/* Key: class. Value: what was sent; written by this program. */
struct sent {
    __u64 packets;
    __u64 bytes;
    __u64 udp;
    __u64 syn;
    __u64 ack;
};
BPF_F_TABLE("array", __u32, struct sent, sent, CLASSES, 1024);

int push(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    __u32 zero = 0;
    struct plan *to = plan.lookup(&zero);
    if (!to || data + HEAD > end) {
        return XDP_ABORTED;
    }

    __u64 lot = next_random(&to->random);
    __u64 pick = next_random(&to->random);
    __u32 class = 0;
    struct persona *who = 0;
#pragma unroll
    for (int i = 0; i < 3; i++) {
        __u32 key = i;
        struct persona *candidate = personas.lookup(&key);
        if (candidate && !who && (lot & 0xffff) < candidate->until) {
            who = candidate;
            class = i;
        }
    }
    if (!who) {
        return XDP_ABORTED;
    }
    __u64 joined = ((__u64)who->count * to->active) >> 16;
    __u32 index = who->first + (__u32)(((pick & 0xffffffff) * (joined ? joined : 1)) >> 32);
    struct source *from = sources.lookup(&index);
    struct sent *tally = sent.lookup(&class);
    if (!from || !tally) {
        return XDP_ABORTED;
    }

    /* Which protocol, how long, which ports. */
    __u32 what = (lot >> 16) & 0xffff;
    __u32 udp = what < who->udp_until;
    __u32 syn = !udp && what < who->syn_until;
    __u32 payload = udp ? 18 + (__u32)((((lot >> 32) & 0xffff) * (who->payload_max - 17)) >> 16) : 0;
    __u32 l4_length = (udp ? sizeof(struct udp_header) : sizeof(struct tcp_header)) + payload;
    __u16 source_port = bswap16(1024 + ((pick >> 32) & 0x7fff));
    /* Random ports stay clear of zero, and of the ports below 1024. */
    __u16 target_port = bswap16(1024 + ((pick >> 47) & 0x7fff));
    if (!udp && (lot >> 48) < who->port_until) {
        target_port = to->port;
    }

    struct ethernet_header *ethernet = data;
    __u16 *mac = data;
    mac[0] = to->target_mac[0];
    mac[1] = to->target_mac[1];
    mac[2] = to->target_mac[2];
    mac[3] = to->mark[0];
    mac[4] = to->mark[1];
    mac[5] = who->mark;

    /* The L4 check sum covers a pseudo header: both addresses, the protocol, the length. */
    __u64 sum = from->sum + bswap16(l4_length) + bswap16(udp ? IP_UDP : IP_TCP);
    __u32 length = sizeof(*ethernet) + l4_length;
    void *l4;
    if (from->version == 4) {
        struct ipv4_header *ip = data + sizeof(*ethernet);
        ethernet->type = bswap16(ETHER_IPV4);
        ip->version_length = 0x45;
        ip->service = 0;
        ip->total_length = bswap16(sizeof(*ip) + l4_length);
        ip->id = pick >> 40;
        ip->fragment = bswap16(IP_DONT_FRAGMENT);
        ip->ttl = HOP_LIMIT;
        ip->protocol = udp ? IP_UDP : IP_TCP;
        ip->source = from->address[0];
        ip->target = to->target4;
        __u64 head = 0x0045 + ip->total_length + ip->id + ip->fragment;
        head += HOP_LIMIT | ip->protocol << 8;
        ip->checksum = fold(head + from->sum + to->target4_sum);
        sum += to->target4_sum;
        length += sizeof(*ip);
        l4 = ip + 1;
    } else {
        struct ipv6_header *ip = data + sizeof(*ethernet);
        ethernet->type = bswap16(ETHER_IPV6);
        ip->version_flow = bswap32(0x60000000);
        ip->payload_length = bswap16(l4_length);
        ip->next_header = udp ? IP_UDP : IP_TCP;
        ip->hop_limit = HOP_LIMIT;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            ip->source[i] = from->address[i];
            ip->target[i] = to->target6[i];
        }
        sum += to->target6_sum;
        length += sizeof(*ip);
        l4 = ip + 1;
    }

    sum += source_port + target_port;
    if (udp) {
        struct udp_header *header = l4;
        header->source = source_port;
        header->target = target_port;
        header->length = bswap16(l4_length);
        /* The payload is zeros, which add nothing. Zero means "no sum", so a sum of zero is sent as all ones. */
        __u16 checksum = fold(sum + header->length);
        header->checksum = checksum ? checksum : 0xffff;
        tally->udp++;
    } else {
        struct tcp_header *header = l4;
        __u32 sequence = lot >> 24;
        __u32 acknowledged = syn ? 0 : pick >> 20;
        header->source = source_port;
        header->target = target_port;
        header->sequence = sequence;
        header->acknowledged = acknowledged;
        header->offset_flags = bswap16(0x5000 | (syn ? TCP_SYN : TCP_ACK));
        header->window = bswap16(64240);
        header->urgent = 0;
        sum += words(sequence) + words(acknowledged) + header->offset_flags + header->window;
        header->checksum = fold(sum);
        if (syn) {
            tally->syn++;
        } else {
            tally->ack++;
        }
    }

    /* Pages are used again: clear what an earlier, longer header left behind this one. */
    if (from->version == 4) {
        if (udp) {
            __builtin_memset(data + 42, 0, HEAD - 42);
        } else {
            __builtin_memset(data + 54, 0, HEAD - 54);
        }
    } else if (udp) {
        __builtin_memset(data + 62, 0, HEAD - 62);
    }

    if (length < MIN_FRAME) {
        length = MIN_FRAME;
    }
    if (bpf_xdp_adjust_tail(ctx, (int)length - FRAME)) {
        return XDP_ABORTED;
    }
    tally->packets++;
    tally->bytes += length;
    if (!to->packets) {
        to->first_ns = bpf_ktime_get_ns();
    }
    to->packets++;
    return XDP_TX;
}

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The wire beyond the wall: an XDP program on the far end of the wall's link. What the protected host or the wall answers
 * to the attackers ends here, as cheaply as on a real wire; a routing table would take it out of the same CPU time that
 * the wall needs (measured: 0.4 to 0.7 us a packet). What is for the clients goes on.
 *
 * -D: the clients' networks as little-endian numbers. CLIENT4 and CROWD4 with their masks; of CLIENT6 and CROWD6 and
 * their masks the first eight bytes.
 */

#include "headers.h"

int pass_client(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    struct ethernet_header *ethernet = data;
    if (data + sizeof(*ethernet) > end)
        return XDP_PASS;
    if (ethernet->type == bswap16(ETHER_IPV4)) {
        struct ipv4_header *ip = (void *)(ethernet + 1);
        if ((void *)(ip + 1) > end)
            return XDP_PASS;
        __u32 to = ip->target;
        return (to & CLIENT4_MASK) == CLIENT4 || (to & CROWD4_MASK) == CROWD4 ? XDP_PASS : XDP_DROP;
    }
    if (ethernet->type == bswap16(ETHER_IPV6)) {
        struct ipv6_header *ip = (void *)(ethernet + 1);
        if ((void *)(ip + 1) > end)
            return XDP_PASS;
        /* Neighbour discovery and the like stay on the link: fe80::/10 and ff00::/8. */
        if ((ip->target[0] & 0xff) == 0xff || (ip->target[0] & 0xc0ff) == 0x80fe)
            return XDP_PASS;
        __u64 high = ip->target[0] | (__u64)ip->target[1] << 32;
        return (high & CLIENT6_MASK) == CLIENT6 || (high & CROWD6_MASK) == CROWD6 ? XDP_PASS : XDP_DROP;
    }
    return XDP_PASS;
}

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The wire beyond the wall: a tc program (clsact, ingress) on the far end of the wall's link. What the protected host
 * answers to the attackers ends here, as cheaply as on a real wire; a routing table would take it out of the same CPU
 * time that the wall needs (measured: 0.4 to 0.7 us a packet). What is for the client goes on.
 *
 * -D: CLIENT4, the client's /24, network order as a little-endian number; CLIENT6, the first eight bytes of its /64.
 */

#include "headers.h"

#define TC_ACT_UNSPEC_ (-1)
#define TC_ACT_SHOT_ 2

int pass_client(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data;
    void *end = (void *)(long)skb->data_end;
    struct ethernet_header *ethernet = data;
    if (data + sizeof(*ethernet) > end)
        return TC_ACT_UNSPEC_;
    if (ethernet->type == bswap16(ETHER_IPV4)) {
        struct ipv4_header *ip = (void *)(ethernet + 1);
        if ((void *)(ip + 1) > end)
            return TC_ACT_UNSPEC_;
        return (ip->target & 0xffffff) == CLIENT4 ? TC_ACT_UNSPEC_ : TC_ACT_SHOT_;
    }
    if (ethernet->type == bswap16(ETHER_IPV6)) {
        struct ipv6_header *ip = (void *)(ethernet + 1);
        if ((void *)(ip + 1) > end)
            return TC_ACT_UNSPEC_;
        /* Neighbour discovery and the like stay on the link: fe80::/10 and ff00::/8. */
        if ((ip->target[0] & 0xff) == 0xff || (ip->target[0] & 0xc0ff) == 0x80fe)
            return TC_ACT_UNSPEC_;
        __u64 high = ip->target[0] | (__u64)ip->target[1] << 32;
        return high == CLIENT6 ? TC_ACT_UNSPEC_ : TC_ACT_SHOT_;
    }
    return TC_ACT_UNSPEC_;
}

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Shows many packets to the wall in one test run: gives the packet in hand another source and calls the real program.
 *
 * Packet n of a run: where n is a multiple of EVERY, source 10.0.0.0 plus (n / EVERY) % HEAVY, so that the heavy sources take
 * turns as evenly as can be; else a source from 32.0.0.0 to 95.255.255.255 that is different for almost each n. In IPv6
 * (where the packet is one) 2001:db8:: plus as many /64, and random ones of 2a00::/16.
 *
 * -D: EVERY HEAVY
 */
#include <uapi/linux/bpf.h>

#define TYPE_AT 12
#define IPV6_AS_IT_LIES 0xdd86
#define SOURCE4_AT 26 /* Ethernet header, 12 bytes of IPv4 */
#define SOURCE6_AT 22 /* Ethernet header, 8 bytes of IPv6 */

BPF_F_TABLE("array", u32, u64, position, 1, 0);
BPF_PROG_ARRAY(wall, 1);

int spoof(struct xdp_md *ctx)
{
    u32 zero = 0;
    u64 *n = position.lookup(&zero);
    void *data = (void *)(long)ctx->data;
    if (!n || data + SOURCE6_AT + 16 > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    u64 now = (*n)++, is_heavy = now % EVERY == 0, heavy = now / EVERY % HEAVY;
    u64 spread = now * 0x9e3779b97f4a7c15ULL;
    spread = (spread ^ spread >> 29) * 0xd6e8feb86659fd93ULL;
    if (*(u16 *)(data + TYPE_AT) == IPV6_AS_IT_LIES) {
        u64 network = is_heavy ? 0x20010db8ULL << 32 | heavy : 0x2a00ULL << 48 | spread >> 16;
        *(u64 *)(data + SOURCE6_AT) = __builtin_bswap64(network);
    } else {
        u32 address = is_heavy ? 0x0a000000 + (u32)heavy : 0x20000000 + (u32)(spread >> 34);
        *(u32 *)(data + SOURCE4_AT) = __builtin_bswap32(address);
    }
    wall.call(ctx, 0);
    return XDP_ABORTED;
}

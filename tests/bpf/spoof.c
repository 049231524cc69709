/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Shows many packets to the wall in one test run: gives the packet in hand another IPv4 source and calls the real program.
 *
 * Packet n of a run: where n is a multiple of EVERY, source 10.0.0.0 plus (n / EVERY) % HEAVY, so that the heavy sources take
 * turns as evenly as can be; else a source from 32.0.0.0 to 95.255.255.255 that is different for almost each n.
 *
 * -D: EVERY HEAVY
 */
#include <uapi/linux/bpf.h>

#define SOURCE_AT 26 /* Ethernet header, 12 bytes of IPv4 */

BPF_F_TABLE("array", u32, u64, position, 1, 0);
BPF_PROG_ARRAY(wall, 1);

int spoof(struct xdp_md *ctx)
{
    u32 zero = 0;
    u64 *n = position.lookup(&zero);
    u32 *source = (void *)(long)ctx->data + SOURCE_AT;
    if (!n || (void *)(source + 1) > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    u64 now = (*n)++;
    u64 spread = now * 0x9e3779b97f4a7c15ULL;
    u32 address = 0x20000000 + (u32)(((spread ^ spread >> 29) * 0xd6e8feb86659fd93ULL) >> 34);
    if (now % EVERY == 0)
        address = 0x0a000000 + (u32)(now / EVERY % HEAVY);
    *source = __builtin_bswap32(address);
    wall.call(ctx, 0);
    return XDP_ABORTED;
}

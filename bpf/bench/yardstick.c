/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the wall is measured against: the least that a program can do, and the wall's own parser with nothing behind it. The
 * wall itself comes with the same compile, so that the bench can have it with BENCH_PASS_IS_DROP.
 */
#include "../wall.c"

int bare_drop(struct xdp_md *ctx)
{
    return XDP_DROP;
}

int parse_drop(struct xdp_md *ctx)
{
    struct packet p = {.data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};
    p.length = p.end - p.data;
    u32 reason = parse(&p);
    /* The compiler must believe that somebody wants what was read. */
    u64 key = p.key, kinds = p.kinds;
    asm volatile("" : : "r"(reason), "r"(key), "r"(kinds));
    return XDP_DROP;
}

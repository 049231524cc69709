/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Time on the hot path is jiffies ("ticks"): bpf_jiffies64 is a load, bpf_ktime_get_ns costs as much as half the wall.
 */
#ifndef XDPWALL_TIME_H
#define XDPWALL_TIME_H

/*
 * An expiry counts units of 64 ticks: 0.26 s at HZ = 250, and 32 bits of it last eight years at HZ = 1000. Python rounds
 * up, so a ban lasts at least what was asked for.
 */
#define EXPIRY_SHIFT 6
#define EXPIRY_NEVER 0xffffffffULL

INLINE u64 expiry_now(struct packet *p)
{
    return (p->now >> EXPIRY_SHIFT) & 0xffffffff;
}

#endif

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Randomness from a seed, and check sums. Sums are taken over 16-bit words as they lie in memory: a one's complement sum
 * does not care about byte order (RFC 1071), as long as all words are taken alike.
 */
#ifndef XDPWALL_LAB_SUMS_H
#define XDPWALL_LAB_SUMS_H

INLINE __u64 next_random(__u64 *state)
{
    /* Knuth's MMIX constants; the high half is mixed into the low one, whose own bits are weak. */
    __u64 x = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    *state = x;
    return x ^ (x >> 33);
}

INLINE __u16 fold(__u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

INLINE __u64 words(__u32 two)
{
    return (two & 0xffff) + (two >> 16);
}

#endif
